-- Grain: one row, the programme schedule of a new market from a day on.
-- Reads: nothing. Writes: schedule_market_assignments.
-- Params: :schedule_id, :market_id, :start (ISO date). Re-run: fails, a market has a schedule once from a day.
INSERT INTO schedule_market_assignments (schedule_id, market_id, effective_start_date)
VALUES (:schedule_id, :market_id, :start)
