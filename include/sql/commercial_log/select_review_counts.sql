-- Grain: one row: spots that wait for review, and how many of them are undetermined at or above :high_value (gross, US
-- dollars). Reads: spot_language_assignments, spots. Writes: nothing. Params: :high_value. Re-run: read only.
-- Only the flagged rows are visited, through their partial index, and only the undetermined among them look up a spot.
SELECT
    count(*) AS review_queue,
    count(*) FILTER (
        WHERE a.language_status = 'undetermined'
            AND EXISTS (
                SELECT 1
                FROM spots AS s
                WHERE s.spot_id = a.spot_id
                    AND s.gross_rate >= :high_value
                    AND (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
            )
    ) AS undetermined_high_value
FROM spot_language_assignments AS a
WHERE a.requires_review = 1
