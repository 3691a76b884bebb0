-- Grain: one row, the closing of a month; none if the month is closed already.
-- Reads: nothing else. Writes: month_closures.
-- Params: :month (`Mmm-YY`), :closed_date (local day), :closed_by, :notes. Re-run: changes nothing.
INSERT INTO month_closures (broadcast_month, closed_date, closed_by, notes)
VALUES (:month, :closed_date, :closed_by, :notes)
ON CONFLICT (broadcast_month) DO NOTHING
