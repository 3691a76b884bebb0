-- Grain: one row per classified spot. A row that would not change, and a row set by a person, is left alone.
-- Reads: nothing else.
-- Writes: spot_language_blocks. Params: spot_id, assigned_date and the columns of a classification. Re-run: no change.
INSERT INTO spot_language_blocks (
    spot_id,
    schedule_id,
    block_id,
    customer_intent,
    intent_confidence,
    spans_multiple_blocks,
    blocks_spanned,
    primary_block_id,
    assignment_method,
    requires_attention,
    alert_reason,
    business_rule_applied,
    campaign_type,
    assigned_date
)
VALUES (
    :spot_id,
    :schedule_id,
    :block_id,
    :customer_intent,
    :intent_confidence,
    :spans_multiple_blocks,
    :blocks_spanned,
    :primary_block_id,
    :assignment_method,
    :requires_attention,
    :alert_reason,
    :business_rule_applied,
    :campaign_type,
    :assigned_date
)
ON CONFLICT (spot_id) DO UPDATE SET
    schedule_id = excluded.schedule_id,
    block_id = excluded.block_id,
    customer_intent = excluded.customer_intent,
    intent_confidence = excluded.intent_confidence,
    spans_multiple_blocks = excluded.spans_multiple_blocks,
    blocks_spanned = excluded.blocks_spanned,
    primary_block_id = excluded.primary_block_id,
    assignment_method = excluded.assignment_method,
    requires_attention = excluded.requires_attention,
    alert_reason = excluded.alert_reason,
    business_rule_applied = excluded.business_rule_applied,
    campaign_type = excluded.campaign_type,
    assigned_date = excluded.assigned_date,
    assigned_by = excluded.assigned_by
WHERE assignment_method <> 'manual_override'
    AND (
        schedule_id, block_id, customer_intent, intent_confidence, spans_multiple_blocks, blocks_spanned,
        primary_block_id, assignment_method, requires_attention, alert_reason, business_rule_applied, campaign_type
    ) IS NOT (
        excluded.schedule_id, excluded.block_id, excluded.customer_intent, excluded.intent_confidence,
        excluded.spans_multiple_blocks, excluded.blocks_spanned, excluded.primary_block_id, excluded.assignment_method,
        excluded.requires_attention, excluded.alert_reason, excluded.business_rule_applied, excluded.campaign_type
    );
