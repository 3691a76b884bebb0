-- sqlfluff:dialect:postgres
-- Grain: one row per activation, renewal, deactivation or pay-per-download of one day, with the columns of all four.
-- Reads, in the source's PostgreSQL: the transactions table (its name is a setting), channel_dim. Writes: nothing.
-- Params: trans_type_id; first and next, the source's local time, first <= tlog_ts < next. Re-run: read only.
-- A field of generic_act_info is what follows the first `key=` up to the next `;`, or '' if there is no such key: for
-- `campaign` that may be the end of `TEFcampaign=`, whichever comes first, as in all the history. The order is total:
-- equal rows make equal files, and of two rows with one key always the same comes last.
SELECT
    f.msisdn AS tmuserid,
    split_part(right(i.info, -length(split_part(i.info, 'chrg_refid=', 1) || 'chrg_refid=')), ';', 1) AS msisdn,
    split_part(right(i.info, -length(split_part(i.info, 'cpc=', 1) || 'cpc=')), ';', 1) AS cpc,
    f.trans_type_id,
    f.channel_id,
    c.channel_desc AS channel_act,
    c.channel_desc AS channel_dct,
    f.tlog_ts AS trans_date,
    f.request_ts AS act_date,
    f.next_charging_date AS reno_date,
    split_part(right(i.info, -length(split_part(i.info, 'campaign=', 1) || 'campaign=')), ';', 1) AS camp_name,
    split_part(right(i.info, -length(split_part(i.info, 'TEFProvider=', 1) || 'TEFProvider=')), ';', 1) AS tef_prov,
    split_part(right(i.info, -length(split_part(i.info, 'TEFmedium=', 1) || 'TEFmedium=')), ';', 1) AS campana_medium,
    split_part(right(i.info, -length(split_part(i.info, 'TEFcampaign=', 1) || 'TEFcampaign=')), ';', 1) AS campana_id,
    f.subscription_id,
    f.charged_amount AS rev
FROM {transactions} AS f  -- noqa: PRS
CROSS JOIN LATERAL (SELECT f.generic_act_info AS info) AS i
LEFT JOIN channel_dim AS c ON c.channel_id = f.channel_id
WHERE f.trans_type_id = %(trans_type_id)s
    AND f.tlog_ts >= %(first)s
    AND f.tlog_ts < %(next)s
ORDER BY
    f.tlog_ts,
    f.subscription_id,
    f.charged_amount,
    f.request_ts,
    f.next_charging_date,
    f.channel_id,
    f.msisdn,
    i.info
