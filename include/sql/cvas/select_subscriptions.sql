-- Make the subscription view: its 45 columns (section 4.2), sorted by subscription_id.
-- Grain: one row per subscription with at least one activation or renewal. Writes: nothing. Re-run: read only.
-- Reads: made_act, made_reno, made_dct, made_cnr, made_rfnd, every event of the subscriptions that are to be made;
-- kept, the rows of the view before about all others (none in a full rebuild); catalogue.
-- Params: $as_of (date).
--
-- Renewals are most of the lake. Their narrow columns go through one aggregate per subscription and price; the wide
-- ones are read in a second scan, of the rows alone that are the first of a subscription. Order (R37): a struct
-- compares its fields one after the other, nulls last. Money is added as decimals (R48).
WITH renewals AS (
    SELECT
        subscription_id,
        cpc,
        count(*) AS renewal_count,
        sum(rev::DECIMAL(18, 6)) AS revenue,
        min(trans_date) AS first_date,
        max(trans_date) AS last_date
    FROM made_reno
    WHERE subscription_id IS NOT NULL
    GROUP BY subscription_id, cpc
),

prices AS (
    SELECT subscription_id, cpc, TRUE AS renewal, first_date, last_date, renewal_count, revenue
    FROM renewals
    UNION ALL
    SELECT subscription_id, cpc, FALSE, min(trans_date), max(trans_date), 0, 0
    FROM made_act
    WHERE subscription_id IS NOT NULL
    GROUP BY subscription_id, cpc
),

histories AS (
    SELECT
        subscription_id,
        min(cpc) AS only_cpc,
        bool_or(cpc IS NULL) OR min(cpc) <> max(cpc) AS several_cpcs,
        bool_and(renewal) AS missing_act_record,
        min(first_date) FILTER (WHERE NOT renewal) AS first_activation,
        min(first_date) FILTER (WHERE renewal) AS first_renewal,
        max(last_date) FILTER (WHERE renewal) AS last_renewal,
        max(last_date) AS last_date,
        sum(renewal_count)::BIGINT AS renewal_count,
        coalesce(sum(revenue), 0) AS renewal_revenue
    FROM prices
    GROUP BY subscription_id
),

-- Nine in ten subscriptions have one price all their life; order matters to the others alone (R41).
several AS (
    SELECT subscription_id
    FROM histories
    WHERE several_cpcs
),

prices_in_order AS (
    SELECT
        subscription_id,
        cpc,
        min({'at': first_date, 'renewal': renewal}) AS first_event,
        max({'dated': last_date IS NOT NULL, 'at': last_date, 'renewal': renewal, 'cpc': cpc}) AS last_event
    FROM prices
    SEMI JOIN several USING (subscription_id)
    GROUP BY subscription_id, cpc
),

cpc_lists AS (
    SELECT
        subscription_id,
        coalesce(
            list(cpc ORDER BY first_event.at, first_event.renewal, cpc) FILTER (WHERE cpc IS NOT NULL), []
        ) AS cpc_list,
        max(last_event).cpc AS current_cpc
    FROM prices_in_order
    GROUP BY subscription_id
),

activations AS (
    SELECT
        subscription_id,
        min(
            {
                'at': trans_date,
                'cpc': cpc,
                'rev': rev,
                'channel': channel_act,
                'campaign': camp_name,
                'act_date': act_date,
                'tmuserid': tmuserid,
                'msisdn': msisdn
            }
        ) AS first_event,
        max({'dated': trans_date IS NOT NULL, 'at': trans_date, 'cpc': cpc, 'rev': rev}) AS last_event,
        max({'dated': trans_date IS NOT NULL, 'at': trans_date, 'cpc': cpc})
            FILTER (WHERE channel_act = 'UPGRADE') AS last_upgrade,
        count(*) FILTER (WHERE channel_act = 'UPGRADE') AS upgrade_count,
        sum(rev::DECIMAL(18, 6)) FILTER (WHERE channel_act = 'UPGRADE') AS upgrade_revenue,
        sum(rev::DECIMAL(18, 6)) AS revenue
    FROM made_act
    WHERE subscription_id IS NOT NULL
    GROUP BY subscription_id
),

-- The subscriptions whose first event is a renewal (R39).
begun_by_renewal AS (
    SELECT subscription_id, first_renewal
    FROM histories
    WHERE missing_act_record OR first_renewal < coalesce(first_activation, 'infinity'::TIMESTAMP)
),

first_renewals AS (
    SELECT
        subscription_id,
        min(
            {
                'at': trans_date,
                'cpc': cpc,
                'rev': rev,
                'channel': channel_act,
                'campaign': camp_name,
                'act_date': act_date,
                'tmuserid': tmuserid,
                'msisdn': msisdn
            }
        ) AS first_event
    FROM (
        SELECT made_reno.*
        FROM made_reno
        SEMI JOIN begun_by_renewal AS begun
            ON made_reno.subscription_id = begun.subscription_id AND made_reno.trans_date = begun.first_renewal
        UNION ALL
        SELECT made_reno.*
        FROM made_reno
        SEMI JOIN (SELECT subscription_id FROM begun_by_renewal WHERE first_renewal IS NULL) AS begun
            ON made_reno.subscription_id = begun.subscription_id
        WHERE made_reno.trans_date IS NULL
    ) AS first_rows
    GROUP BY subscription_id
),

deactivations AS (
    SELECT
        subscription_id,
        max({'at': trans_date, 'mode': channel_dct}) AS last_event
    FROM made_dct
    WHERE channel_dct <> 'UPGRADE' AND trans_date IS NOT NULL
    GROUP BY subscription_id
),

cancellations AS (
    SELECT
        sbn_id AS subscription_id,
        max({'at': cancel_date, 'named': made_cnr.mode IS NOT NULL, 'mode': made_cnr.mode}) AS last_event
    FROM made_cnr
    WHERE cancel_date IS NOT NULL
    GROUP BY sbn_id
),

refunds AS (
    SELECT
        sbnid AS subscription_id,
        count(*) AS refund_count,
        sum(rfnd_amount::DECIMAL(18, 6)) AS refunded,
        sum(abs(rfnd_amount::DECIMAL(18, 6))) AS lost,
        sum(rfnd_cnt)::BIGINT AS refund_events,
        max(refnd_date) AS last_refund_date
    FROM made_rfnd
    GROUP BY sbnid
),

facts AS (
    SELECT
        history.*,
        coalesce(first_renewal.first_event, activation.first_event) AS first_event,
        activation.first_event AS first_act,
        activation.last_event AS last_act,
        activation.last_upgrade,
        coalesce(activation.upgrade_count, 0) AS upgrade_count,
        coalesce(activation.upgrade_revenue, 0) AS upgrade_revenue,
        coalesce(activation.first_event.rev::DECIMAL(18, 6), 0) AS activation_revenue,
        history.renewal_revenue + activation_revenue AS total_revenue,
        history.renewal_revenue + coalesce(activation.revenue, 0) AS gross_revenue,
        CASE WHEN history.several_cpcs THEN cpcs.cpc_list ELSE [history.only_cpc] END AS cpc_list,
        CASE WHEN history.several_cpcs THEN cpcs.current_cpc ELSE history.only_cpc END AS current_cpc,
        deactivation.last_event AS deactivation,
        cancellation.last_event AS cancellation,
        coalesce(cancellation.last_event.at, deactivation.last_event.at) AS end_date,
        coalesce(refund.refund_count, 0) AS refund_count,
        coalesce(refund.refunded, 0) AS refunded,
        coalesce(refund.lost, 0) AS lost,
        coalesce(refund.refund_events, 0) AS refund_events,
        refund.last_refund_date
    FROM histories AS history
    LEFT JOIN activations AS activation USING (subscription_id)
    LEFT JOIN first_renewals AS first_renewal USING (subscription_id)
    LEFT JOIN cpc_lists AS cpcs USING (subscription_id)
    LEFT JOIN deactivations AS deactivation USING (subscription_id)
    LEFT JOIN cancellations AS cancellation USING (subscription_id)
    LEFT JOIN refunds AS refund USING (subscription_id)
),

-- Everything that events alone decide.
made AS (
    SELECT
        subscription_id,
        first_event.tmuserid AS tmuserid,
        first_event.msisdn AS msisdn,
        cpc_list,
        len(cpc_list) AS cpc_count,
        first_event.cpc AS first_cpc,
        current_cpc,
        len(cpc_list) > 1 AS has_upgraded,
        last_act.at AS upgrade_date,
        last_act.cpc AS upgraded_to_cpc,
        first_event.act_date AS activation_date,
        CASE WHEN missing_act_record THEN first_event.at ELSE first_act.at END AS activation_trans_date,
        missing_act_record,
        first_event.campaign AS activation_campaign,
        first_event.channel AS activation_channel,
        activation_revenue::DOUBLE AS activation_revenue,
        strftime(first_event.at, '%Y-%m') AS activation_month,
        renewal_count,
        renewal_revenue::DOUBLE AS renewal_revenue,
        last_renewal AS last_renewal_date,
        first_renewal AS first_renewal_date,
        coalesce(last_renewal, first_event.act_date) AS last_activity_date,
        deactivation.at AS deactivation_date,
        deactivation.mode AS deactivation_mode,
        cancellation.at AS cancellation_date,
        cancellation.mode AS cancellation_mode,
        refund_count,
        refunded::DOUBLE AS total_refunded,
        last_refund_date,
        total_revenue::DOUBLE AS total_revenue,
        (total_revenue + coalesce(last_act.rev::DECIMAL(18, 6), 0))::DOUBLE AS total_revenue_with_upgrade,
        CASE
            WHEN cancellation.at IS NOT NULL THEN 'Cancelled'
            WHEN deactivation.at IS NOT NULL THEN 'Deactivated'
            ELSE 'Active'
        END AS subscription_status,
        end_date,
        upgrade_count,
        last_upgrade.at AS last_upgrade_date,
        last_upgrade.cpc AS last_upgrade_cpc,
        upgrade_revenue::DOUBLE AS upgrade_revenue,
        gross_revenue::DOUBLE AS gross_revenue,
        refund_events,
        (gross_revenue - lost)::DOUBLE AS net_revenue,
        coalesce(last_date > end_date, FALSE) AS active_after_end
    FROM facts
),

every_row AS (
    SELECT * FROM made
    UNION ALL BY NAME
    SELECT * EXCLUDE (lifetime_days, service_name, tme_category, cpc_user_base) FROM kept
)

-- What depends on the as-of date and the catalogue is made anew for every row (R53 a).
SELECT
    every_row.subscription_id,
    every_row.tmuserid,
    every_row.msisdn,
    every_row.cpc_list,
    every_row.cpc_count,
    every_row.first_cpc,
    every_row.current_cpc,
    every_row.has_upgraded,
    every_row.upgrade_date,
    every_row.upgraded_to_cpc,
    every_row.activation_date,
    every_row.activation_trans_date,
    every_row.missing_act_record,
    every_row.activation_campaign,
    every_row.activation_channel,
    every_row.activation_revenue,
    every_row.activation_month,
    every_row.renewal_count,
    every_row.renewal_revenue,
    every_row.last_renewal_date,
    every_row.first_renewal_date,
    every_row.last_activity_date,
    every_row.deactivation_date,
    every_row.deactivation_mode,
    every_row.cancellation_date,
    every_row.cancellation_mode,
    every_row.refund_count,
    every_row.total_refunded,
    every_row.last_refund_date,
    every_row.total_revenue,
    every_row.total_revenue_with_upgrade,
    every_row.subscription_status,
    date_diff('day', every_row.activation_date, coalesce(every_row.end_date, $as_of::TIMESTAMP)) AS lifetime_days,
    every_row.end_date,
    every_row.upgrade_count,
    every_row.last_upgrade_date,
    every_row.last_upgrade_cpc,
    every_row.upgrade_revenue,
    every_row.gross_revenue,
    every_row.refund_events,
    every_row.net_revenue,
    coalesce(catalogue.service_name, 'UNKNOWN') AS service_name,
    coalesce(catalogue.tme_category, '') AS tme_category,
    catalogue.user_base AS cpc_user_base,
    every_row.active_after_end
FROM every_row
LEFT JOIN catalogue ON every_row.current_cpc = catalogue.cpc
ORDER BY every_row.subscription_id
