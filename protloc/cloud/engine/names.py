"""The names of the engine: its version, the private names in use, and where it keeps its files.

`tests/cloud/engine/test_engine_contract.py` fails, naming the version, when a release moves one of them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any

VERSION = "1.5.33"
REGION = "us-east-1"
ACCOUNT = "000000000000"

Headers = dict[str, str]
Response = tuple[int, Headers, bytes]

# Every private name of the engine this package touches: module → name → parameters (None: not a function).
TOUCHED: dict[str, dict[str, tuple[str, ...] | None]] = {
    "ministack.app": {
        "app": ("scope", "receive", "send"),
        "pin_request_origin": ("source_ip", "secure_transport"),
        "SERVICE_HANDLERS": None,
        "SERVICE_REGISTRY": None,
        "_loaded_modules": None,
        "_build_persistence_save_dict": (),
        "_get_module": ("name",),
    },
    "ministack.core.router": {
        "SERVICE_PATTERNS": None,
        "extract_access_key_id": ("headers", "query_params"),
        "detect_service": ("method", "path", "headers", "query_params"),
    },
    "ministack.core.iam_actions": {
        "SERVICE_TO_IAM_NAMESPACE": None,
        "_BOTOCORE_SERVICE_MAP": None,
        "extract_iam_action": ("service", "method", "path", "headers", "body", "query_params"),
        "request_tag_context": ("service", "iam_action", "body", "params"),
        "access_denied_response": (
            "service",
            "action",
            "principal_arn",
            "request_id",
            "error_code",
            "message",
            "headers",
            "resource_arn",
            "explicit_deny",
            "resource_policy_arn",
        ),
        "extract_resource_arn": (
            "service",
            "method",
            "path",
            "headers",
            "body",
            "query_params",
            "region",
            "account_id",
        ),
    },
    "ministack.core.iam_evaluator": {
        "EvalContext": None,
        "evaluate": ("ctx", "policies", "limits"),
        "_gather_role_policies": ("role_name", "account_id"),
        "enforce": (
            "access_key_id",
            "iam_action",
            "service",
            "region",
            "resource_arn",
            "service_context",
        ),
        "resolve_caller_identity": ("access_key_id",),
        "is_root_access_key": ("access_key_id",),
        "resolve_credential": ("access_key_id", "account_id", "session_token"),
        "CredentialResolutionError": None,
        "evaluate_resource_policy": ("doc", "ctx", "service", "named_only", "direct_only"),
    },
    "ministack.core.responses": {
        "AccountRegionScopedDict": None,
        "_request_account_id": None,
        "request_scope": ("account_id", "region"),
    },
    "ministack.services.apigateway_v1": {
        "_import_rest_api": ("spec", "base_data"),
        "_put_gateway_response": ("api_id", "response_type", "data"),
        "_rest_apis": None,
        "_handle_execute_in_scope": (
            "api_id",
            "stage_name",
            "method",
            "path",
            "headers",
            "body",
            "query_params",
            "owner_account_id",
            "owner_region",
        ),
        "authentication_error_response": ("api_id", "stage_name", "error", "headers", "query_params"),
        "_AUTHENTICATION_GATEWAY_ERRORS": None,
    },
    "ministack.services.sts": {"register_session": ("access_key", "session"), "_sessions": None},
    "ministack.services.sqs": {
        "queue_policy_for_arn": ("queue_arn",),
        "_queues": None,
        "_queue_name_to_url": None,
        "_HANDLERS": None,
        "_act_send_message": ("data", "qurl"),
        "_act_delete_message": ("data", "qurl"),
        "_act_delete_message_batch": ("data", "qurl"),
        "_expire_retained": ("q",),
        "_collect_msgs": ("q", "max_n", "vis_timeout"),
        "_dlq_sweep": ("q",),
        "_receive_messages_for_esm": ("queue_url", "max_number"),
        "_delete_messages_for_esm": ("queue_url", "receipt_handles"),
    },
    "ministack.services.sns": {
        "topic_policy_for_arn": ("topic_arn",),
        "_deliver_to_sqs": (
            "endpoint",
            "envelope",
            "raw",
            "raw_message",
            "message_group_id",
            "message_dedup_id",
            "message_attributes",
            "topic_arn",
        ),
    },
    "ministack.services.s3": {
        "_fire_s3_event": (
            "bucket_name",
            "key",
            "event_name",
            "size",
            "etag",
            "deletion_type",
            "restore_event_data",
            "version_id",
            "sequencer",
            "object_extra",
            "record_extra",
        ),
        "_persist_object": ("bucket", "key", "obj"),
        "_multipart_uploads": None,
        "_qp": ("params", "key", "default"),
        "_upload_part": ("bucket_name", "key", "body", "query_params", "headers"),
        "_upload_part_copy": ("bucket_name", "dest_key", "query_params", "headers"),
        "_complete_multipart_upload": ("bucket_name", "key", "body", "query_params", "headers"),
        "_abort_multipart_upload": ("bucket_name", "key", "query_params"),
        "_persist_delete_marker": ("bucket_name", "key", "marker"),
        "_persist_displaced_version": ("bucket_name", "key", "prior_obj", "versioning"),
        "_delete_version_file": ("bucket_name", "key", "version_id"),
        "_delete_persisted_object": ("bucket_name", "key"),
        "_read_body": ("bucket_name", "key", "obj"),
        "_other_key_disk_path": ("base", "key", "fpath"),
        "_object_meta_from_record": ("obj",),
        "_key_history_meta": ("bucket_name", "key"),
        "_persisted_key_files": ("bucket_path", "sidecars"),
        "_load_persisted_bucket": ("account_id", "bucket_name", "bucket_path"),
        "_buckets": None,
        "_object_versions": None,
        "_bucket_notifications": None,
        "_bucket_policies": None,
        "_fire_s3_event_async": (
            "bucket_name",
            "key",
            "event_name",
            "size",
            "etag",
            "deletion_type",
            "version_id",
            "object_extra",
            "record_extra",
        ),
        "_get_object": ("bucket_name", "key", "headers", "query_params"),
        "_version_body": ("bucket", "bucket_name", "key", "v"),
        "_parse_range": ("range_header", "total"),
        "_version_file_exists": ("bucket_name", "key", "version_id", "account_id"),
        "_version_disk_path": ("bucket", "key", "version_id", "account_id"),
        "_object_disk_path": ("bucket", "key", "account_id"),
        "_deliver_event_to_sqs": ("arn", "event_payload", "bucket_region", "bucket_name"),
    },
    "ministack.services.eventbridge": {
        "_dispatch_event": ("event", "view"),
        "_dispatch_to_sqs": ("spec", "payload", "sqs_parameters"),
        "_invoke_target": ("target", "event", "rule", "view"),
    },
    "ministack.services.dynamodb": {
        "_tables": None,
        "_ttl_settings": None,
        "_ttl_reaper": (),
        "_set_item": ("table", "pk_val", "sk_val", "item"),
        "_remove_item": ("table", "pk_val", "sk_val"),
        "_items_replaced": ("table",),
        "_update_counts": ("table",),
        "_index_item": ("table", "base_pk", "base_sk", "item", "add"),
        "_index_members": ("table",),
        "_index_partition": ("item", "hashes", "ranges"),
        "_index_key_schemas": ("table",),
        "_extract_key_val": ("attr",),
        "_stream_records": None,
        "_stream_trimmed": None,
        "_stream_seq_counter": None,
        "stream_start_position": ("table_name", "account_id", "region"),
        "stream_end_position": ("table_name", "account_id", "region"),
        "stream_records_since": ("table_name", "position", "limit", "account_id", "region"),
    },
    "ministack.services.scheduler": {"_schedule_last_fired": None},
    "ministack.services.cloudwatch_logs": {"_log_groups": None},
    "ministack.services.lambda_svc": {
        "_execute_function_warm": ("func", "event", "request_id"),
        "_runtime_env_vars": ("config",),
        "_run_sqs_batch": ("esm", "func_rec", "event", "batch", "queue_url", "queue_name"),
        "_poll_dynamodb_streams": (),
        "_prune_orphan_code_blobs": ("referenced",),
        "_execute_function": ("func", "event"),
        "_functions": None,
        "_emit_lambda_logs": ("func", "request_id", "log_text", "error", "duration_ms", "log_source"),
        "get_state": (),
        "_esm_wake": None,
        "_esm_backoff_until": None,
        "_esms": None,
        "_iter_all_esms": (),
        "_get_func_record_for_qualifier": ("name", "qualifier"),
        "_apply_filter_criteria": ("records", "esm"),
        "_dynamodb_stream_positions": None,
        "_dynamodb_stream_positions_lock": None,
        "_send_ddb_stream_failure_record": ("esm", "func_rec", "batch", "stream_arn", "result", "condition"),
        "execution_credentials": ("config",),
        "_recursive_loop_drop": ("name", "func", "depth"),
    },
    "ministack.services.stepfunctions": {
        "_execute_task": ("state_def", "raw_input", "execution", "ctx"),
        "_execute_pass": ("state_def", "raw_input", "ctx"),
        "_execute_choice": ("state_def", "raw_input", "ctx"),
        "_execute_wait": ("state_def", "raw_input", "ctx"),
        "_execute_parallel": ("state_def", "raw_input", "execution", "ctx"),
        "_execute_map": ("state_def", "raw_input", "execution", "ctx"),
        "load_persisted_state": ("data",),
        "_invoke_resource": ("resource", "input_data"),
        "_invoke_with_callback": ("resource", "input_data", "token", "state_def"),
        "_invoke_resource_with_timeout": ("resource", "input_data", "timeout"),
        "_run_execution": ("exec_arn",),
        "_fail_execution": ("execution", "error", "cause"),
        "_add_event": ("execution", "event_type", "details"),
        "_emit_execution_status_event": ("execution",),
        "_executions": None,
        "now_iso": (),
        "_apply_state_assign": ("state_def", "raw_input", "ctx", "result", "error_output"),
        "_apply_input_path": ("state_def", "data", "ctx"),
        "_apply_jsonata_output": ("state_def", "raw_input", "ctx", "result", "error_output", "default"),
        "_state_query_language": ("state_def", "ctx"),
        "_dispatch_aws_sdk_json": ("service_info", "service_name", "action", "input_data"),
        "_api_name_to_sfn_key": ("name",),
        "_ExecutionError": None,
        "_SERVICE_DISPATCH": None,
        "_AWS_SDK_SERVICE_MAP": None,
        "_AWS_SDK_ERROR_PREFIX": None,
        "_AWS_SDK_ERROR_CODE_OVERRIDES": None,
        "_state_machines": None,
    },
    "ministack.services.cloudformation.provisioners": {
        "_RESOURCE_HANDLERS": None,
        "_sfn_definition": ("props",),
        "_apigw_method_settings": ("raw",),
        "_delete_predecessor": ("delete_fn", "args", "kwargs"),
    },
    "ministack.services.iam": {"_policies": None},
    "ministack.services.cloudformation.changesets": {"_IMPORT_LOOKUPS": None},
    "ministack.services.cloudformation": {"_stacks": None},
}


class EngineVersionError(Exception):
    """The installed engine is not the one the embedded cloud was built on."""


def check_version() -> None:
    """Refuse to run on an engine whose private names were not checked."""
    try:
        installed = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        installed = "none"
    if installed != VERSION:
        raise EngineVersionError(
            f"the embedded cloud needs ministack {VERSION}, found {installed}: "
            f"run `pip install ministack=={VERSION}`"
        )


def environment(home: Path, port: int) -> dict[str, str]:
    """The variables the engine reads at its import: loopback only, every file under `home`, no Docker."""
    return {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home / "s3"),
        "PERSIST_STATE": "0",  # `snapshot` does it
        "STATE_DIR": str(home / "state"),
        "TMPDIR": str(home / "tmp"),
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ACCOUNT_CONCURRENCY": "0",  # `workers` makes calls wait instead of refusing them
        "DOCKER_HOST": f"unix://{home / 'tmp' / 'no-docker.sock'}",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # A state machine's waits, and its pauses before it asks again, are made for AWS, where a server takes
        # minutes to start and a throttled service one to recover. Here both take seconds.
        "SFN_WAIT_SCALE": "0.2",
        "LOG_LEVEL": "WARNING",
    }


def module(name: str) -> Any:
    """An engine module by its full name."""
    return importlib.import_module(name)
