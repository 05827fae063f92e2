"""A segmented chest CT in three dimensions: point tables, a file for ParaView, and a picture from two sides.

Source: Maganaris et al., Evaluating transferability for COVID 3D localization using CT SARS-CoV-2 segmentation models,
section 5: points of the lung with their CT values, and of predicted and true infection, as CSV for ParaView's filter
Table To Points. All coordinates are RAS in mm, as nibabel gives them.

Nothing is imported here: the process that draws imports this package anew for every picture.
"""
