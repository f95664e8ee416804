"""An S3 that checks signatures, for `s3.rs`: makes a bucket and an access key, prints where and which, and serves until its
standard input ends."""

import json
import os
import sys

# What is done before signatures count: the four calls below.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4"

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

server = ThreadedMotoServer(port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
made = {
    "endpoint_url": f"http://127.0.0.1:{port}",
    "region_name": "eu-central-1",
    "aws_access_key_id": "any",
    "aws_secret_access_key": "any",
}
iam = boto3.client("iam", **made)
iam.create_user(UserName="opsiq")
key = iam.create_access_key(UserName="opsiq")["AccessKey"]
allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
iam.put_user_policy(UserName="opsiq", PolicyName="all", PolicyDocument=policy)
where = {"LocationConstraint": "eu-central-1"}
boto3.client("s3", **made).create_bucket(Bucket="stuff", CreateBucketConfiguration=where)
print(json.dumps({"port": port, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
server.stop()
