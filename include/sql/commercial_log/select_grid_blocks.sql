-- Grain: one row per active block of the weekly programme grids, in the order of the day.
-- Reads: language_blocks, languages. Writes: nothing. Params: none. Re-run: read only.
SELECT
    b.schedule_id,
    b.day_of_week,
    b.block_id,
    b.time_start,
    b.time_end,
    l.language_code,
    coalesce(l.language_group, l.language_name) AS family,
    b.block_name
FROM language_blocks AS b
INNER JOIN languages AS l ON l.language_id = b.language_id
WHERE b.is_active = 1
ORDER BY b.schedule_id, b.day_of_week, b.time_start, b.time_end;
