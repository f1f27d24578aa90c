"""The page: what people see of an upload, as one HTML file that needs nothing but itself.

It has two homes today. `complete` writes it beside an upload's results with the data inside (`report.html`),
and `protloc open` serves it on the user's own machine, where it asks for its data. `document.py` makes the
file out of the modules and the style in this folder; `data.py` makes the data out of result rows.
"""
