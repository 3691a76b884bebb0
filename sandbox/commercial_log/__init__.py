"""The booked-spot workbook and its database: seeded data, and what the update has to make of it.

``share.publish`` puts a day on the share, ``generator.generate`` makes it, ``workbook.write_workbook`` writes it,
``expected.expect`` works out the result, ``history.fill_history`` fills years of closed months.
"""
