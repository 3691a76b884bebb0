-- Grain: one row per spot of a closed month that is not marked as such. Reads: nothing else. Writes: spots.
-- Params: :month (`Mmm-YY`). Re-run: changes nothing.
UPDATE spots SET is_historical = 1
WHERE broadcast_month = :month AND is_historical = 0
