"""``report.html``: a page on the cases of a run that opens in any browser, without network or server."""
