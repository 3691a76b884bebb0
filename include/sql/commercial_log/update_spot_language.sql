-- Grain: the spots of the months without a language id, with :all every one whose id is not that of its assignment.
-- Reads: spot_language_assignments, languages. Writes: spots.language_id. Params: :months (JSON array), :all.
-- Re-run: safe.
UPDATE spots
SET language_id = d.language_id
FROM (
    SELECT a.spot_id, l.language_id
    FROM spot_language_assignments AS a
    LEFT JOIN languages AS l ON upper(l.language_code) = upper(a.language_code)
) AS d
WHERE
    d.spot_id = spots.spot_id
    AND (:all = 1 OR spots.language_id IS NULL)
    AND spots.language_id IS NOT d.language_id
    AND spots.broadcast_month IN (SELECT value FROM json_each(:months))
