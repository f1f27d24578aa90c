"""Prices of AWS's services in us-east-1, in dollars, from public copies of its price lists.

Undated copies, read on 2026-11-25; look them up again before you rely on a bill. Sources:
aws.amazon.com/dynamodb/pricing/on-demand, /sqs/pricing, /lambda/pricing, /s3/pricing, /sagemaker/pricing and
/cloudwatch/pricing, as they stand in the constants of public repositories.
"""

READ = "2026-11-25"

WRITE_UNIT = 0.625e-6  # DynamoDB, on demand: an item of 1 KiB, or an index item
READ_UNIT = 0.125e-6  # 4 KiB read consistently
QUEUE_REQUEST = 0.40e-6
FAIR_QUEUE_REQUEST = 0.10e-6  # on top, for a message that has a group
FUNCTION_REQUEST = 0.20e-6
FUNCTION_GB_SECOND = 0.0000133334  # arm64
PUT_REQUEST = 5e-6  # S3
GET_REQUEST = 0.4e-6
LOG_GB = 0.50
INFERENCE_GB = 0.016  # data into and out of an endpoint

SERVERLESS_GB_SECOND = 0.00002  # of serverless inference, while a call is answered

INSTANCE_HOUR = {
    "ml.c7i.xlarge": 0.214,
    "ml.c7i.2xlarge": 0.428,
    "ml.g4dn.xlarge": 0.736,
    "ml.g5.xlarge": 1.408,
    "ml.g6.xlarge": 1.127,
}
