"""The page: what people see of an upload, as one HTML file that needs nothing but itself.

It has three homes. `complete` writes it beside an upload's results with the data inside (`report.html`),
`protloc open` serves it on the user's own machine, where it asks for its data, and `serve` serves it to a
team, where it signs people in (`team/`) and asks the API itself. `document.py` makes the file out of the
modules and the style in this folder; `data.py` makes the data out of result rows.
"""
