-- Every pair of user id and phone that occurs in a type, so that users are looked at once and not row by row (R63).
-- Grain: one row per (type, tmuserid, msisdn). Reads: act, reno, dct, ppd, cnr, rfnd; the last two have no phone.
-- Writes: temporary table user_pairs. Params: none. Re-run: replaces the table.
CREATE OR REPLACE TEMPORARY TABLE user_pairs AS
SELECT
    type,
    tmuserid,
    msisdn,
    has_phone,
    count(*) AS n_rows
FROM (
    SELECT 'ACT' AS type, TRUE AS has_phone, tmuserid, msisdn FROM act
    UNION ALL
    SELECT 'RENO', TRUE, tmuserid, msisdn FROM reno
    UNION ALL
    SELECT 'DCT', TRUE, tmuserid, msisdn FROM dct
    UNION ALL
    SELECT 'PPD', TRUE, tmuserid, msisdn FROM ppd
    UNION ALL
    SELECT 'CNR', FALSE, tmuserid, NULL FROM cnr
    UNION ALL
    SELECT 'RFND', FALSE, tmuserid, NULL FROM rfnd
) AS users_of_rows
GROUP BY ALL
