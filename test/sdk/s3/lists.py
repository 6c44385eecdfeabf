from concurrent.futures import ThreadPoolExecutor

from check import client, equal, refused

s3 = client(max_pool_connections=32)
B = "bucket"
s3.create_bucket(Bucket=B)
keys = ["k%04d" % i for i in range(1105)] + ["dir/%d/%d" % (i, j) for i in range(5) for j in range(3)] + ["a b+c%&<>\u00fc\x02", "z//", "z/y"]
with ThreadPoolExecutor(16) as pool:
    list(pool.map(lambda k: s3.put_object(Bucket=B, Key=k, Body=k.encode()), keys))
want = sorted(keys, key=lambda k: k.encode())

first = s3.list_objects_v2(Bucket=B)
equal((first["KeyCount"], first["MaxKeys"], first["IsTruncated"], first["Name"], first["Prefix"]), (1000, 1000, True, B, ""))
assert "Owner" not in first["Contents"][0]
equal(first["Contents"][0]["StorageClass"], "STANDARD")
equal(first["Contents"][0]["Size"], len(want[0].encode()))
equal(first["Contents"][0]["ChecksumAlgorithm"], ["CRC32"])
for kind in ("list_objects_v2", "list_objects"):
    for size in (1000, 333):
        got = [o["Key"] for p in s3.get_paginator(kind).paginate(Bucket=B, PaginationConfig={"PageSize": size}) for o in p.get("Contents", [])]
        equal(got, want, kind)
    for size in (1000, 2):
        got, prefixes = [], []
        for p in s3.get_paginator(kind).paginate(Bucket=B, Delimiter="/", Prefix="", PaginationConfig={"PageSize": size}):
            got += [o["Key"] for o in p.get("Contents", []) if o["Key"][0] != "k"]
            prefixes += [c["Prefix"] for c in p.get("CommonPrefixes", [])]
        equal((got, prefixes), (["a b+c%&<>\u00fc\x02"], ["dir/", "z/"]), kind)
    l = getattr(s3, kind)(Bucket=B, Prefix="dir/", Delimiter="/")
    equal([c["Prefix"] for c in l["CommonPrefixes"]], ["dir/%d/" % i for i in range(5)])
    assert "Contents" not in l
equal([o["Key"] for o in s3.list_objects_v2(Bucket=B, Prefix="k", StartAfter="k1102")["Contents"]], ["k1103", "k1104"])
equal([o["Key"] for o in s3.list_objects(Bucket=B, Prefix="k", Marker="k1102")["Contents"]], ["k1103", "k1104"])
assert s3.list_objects_v2(Bucket=B, MaxKeys=1, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
zero = s3.list_objects_v2(Bucket=B, MaxKeys=0)
equal((zero["KeyCount"], zero["IsTruncated"]), (0, False))
refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=B, MaxKeys=-1)
refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=B, ContinuationToken="no token of ours")
refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=B, EncodingType="base64")

import boto3

bucket = boto3.resource("s3").Bucket(B)
equal([o.key for o in bucket.objects.filter(Prefix="z")], ["z//", "z/y"])
s3.delete_object(Bucket=B, Key="a b+c%&<>\u00fc\x02")  # XML 1.0 cannot name it
bucket.objects.all().delete()
equal(s3.list_objects_v2(Bucket=B)["KeyCount"], 0)
