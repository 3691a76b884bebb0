-- How long adding up all refunds takes (R61).
-- Grain: one row. Reads: rfnd. Writes: nothing. Params: none. Re-run: read only.
SELECT
    count(*) AS n_rows,
    sum(rfnd_cnt) AS refunds,
    sum(rfnd_amount) AS amount
FROM rfnd
