"""TV commercial log: the traffic department's living workbook becomes the booked-business database.

extract     share workbook -> ``raw/daily/Commercial Log YYMMDD.xlsx``, exact and all at once
transform   sheet rows -> typed, canonical rows; every other row counted and explained
load        one transaction: markets, open months replaced, categories, languages, audit
months      closing a month; closed months are never touched by the nightly update
rotation    seven days as files, twelve months as ZIP archives
backup      consistent snapshots off the machine, verified before old ones go
review      what people decide: undetermined languages, manual overrides
status      what an operator asks first
"""
