-- Grain: one row per assignment of an active schedule to a market, the preferred one of a market first.
-- An assignment is valid while its schedule is: the later start and the earlier end count, both days included.
-- Reads: schedule_market_assignments, programming_schedules. Writes: nothing. Params: none. Re-run: read only.
SELECT
    a.market_id,
    a.schedule_id,
    max(a.effective_start_date, s.effective_start_date) AS first_day,
    min(coalesce(a.effective_end_date, '9999-12-31'), coalesce(s.effective_end_date, '9999-12-31')) AS last_day
FROM schedule_market_assignments AS a
INNER JOIN programming_schedules AS s ON s.schedule_id = a.schedule_id
WHERE s.is_active = 1
ORDER BY a.market_id, a.assignment_priority DESC, a.effective_start_date DESC, a.assignment_id DESC;
