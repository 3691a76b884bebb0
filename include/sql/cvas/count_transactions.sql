-- Count transactions and sum money per day and price point (R54), without the users of the exclusion list, who are
-- known by their phone in four types and by their user id in two (R55).
-- Grain: one row per (event_day, cpc); the transactions of a day that name no cpc make one row with a null cpc.
-- Reads: act, reno, dct, ppd, cnr, rfnd (the lake's partitions). Writes: nothing.
-- Params: $days (dates), $first and $after (timestamps that enclose them, to skip row groups), $phones, $users (texts).
-- Re-run: read only. Money is added as decimals and rounded once, so the order of rows does not matter.
WITH transactions AS (
    SELECT 'ACT' AS kind, trans_date AS event_date, cpc, channel_act = 'UPGRADE' AS upgrade, rev, msisdn AS phone
    FROM act
    UNION ALL BY NAME
    SELECT 'RENO' AS kind, trans_date AS event_date, cpc, rev, msisdn AS phone
    FROM reno
    UNION ALL BY NAME
    SELECT 'DCT' AS kind, trans_date AS event_date, cpc, channel_dct = 'UPGRADE' AS upgrade, msisdn AS phone
    FROM dct
    UNION ALL BY NAME
    SELECT 'PPD' AS kind, trans_date AS event_date, cpc, rev, msisdn AS phone
    FROM ppd
    UNION ALL BY NAME
    SELECT 'CNR' AS kind, cancel_date AS event_date, cpc, tmuserid
    FROM cnr
    UNION ALL BY NAME
    SELECT 'RFND' AS kind, refnd_date AS event_date, cpc, rfnd_cnt, rfnd_amount, tmuserid
    FROM rfnd
)

SELECT
    event_date::DATE AS event_day,
    cpc,
    count(*) FILTER (WHERE kind = 'ACT' AND upgrade IS NOT TRUE) AS act_count,
    count(*) FILTER (WHERE kind = 'ACT' AND upgrade IS NOT TRUE AND rev = 0) AS act_free,
    count(*) FILTER (WHERE kind = 'ACT' AND upgrade IS NOT TRUE AND rev > 0) AS act_pay,
    count(*) FILTER (WHERE kind = 'ACT' AND upgrade) AS upg_count,
    count(*) FILTER (WHERE kind = 'RENO') AS reno_count,
    count(*) FILTER (WHERE kind = 'DCT' AND upgrade IS NOT TRUE) AS dct_count,
    count(*) FILTER (WHERE kind = 'DCT' AND upgrade) AS upg_dct_count,
    count(*) FILTER (WHERE kind = 'CNR') AS cnr_count,
    count(*) FILTER (WHERE kind = 'PPD') AS ppd_count,
    coalesce(sum(rfnd_cnt), 0)::BIGINT AS rfnd_count,
    round(coalesce(sum(rfnd_amount::DECIMAL(18, 6)), 0), 2)::DOUBLE AS rfnd_amount,
    round(coalesce(sum(rev::DECIMAL(18, 6)), 0), 2)::DOUBLE AS rev,
    count(*) AS events
FROM transactions
WHERE
    event_date >= $first AND event_date < $after
    AND event_date::DATE IN (SELECT unnest($days::DATE []))
    AND NOT EXISTS (SELECT 1 FROM unnest($phones::VARCHAR []) AS excluded (msisdn) WHERE msisdn = transactions.phone)
    AND NOT EXISTS (SELECT 1 FROM unnest($users::VARCHAR []) AS excluded (id) WHERE id = transactions.tmuserid)
GROUP BY ALL
ORDER BY ALL
