-- The day of the newest event. Grain: one row, null in an empty lake. Reads: act, reno, dct, cnr, rfnd.
-- Writes: nothing. Params: none. Re-run: read only.
SELECT max(newest)::DATE AS day
FROM (
    SELECT max(trans_date) AS newest FROM act
    UNION ALL
    SELECT max(trans_date) FROM reno
    UNION ALL
    SELECT max(trans_date) FROM dct
    UNION ALL
    SELECT max(cancel_date) FROM cnr
    UNION ALL
    SELECT max(refnd_date) FROM rfnd
) AS newest_by_type
