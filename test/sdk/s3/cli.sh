# AWS CLI's high-level commands against an empty server.
set -eu
aws() { "$VENV/bin/python" "$VENV/bin/aws" "$@"; }
fail() { echo "$*" >&2; exit 1; }
cd "$HOME"
mkdir -p tree/sub
head -c 20000000 /dev/urandom >tree/big.bin
printf one >tree/one.txt
printf two >"tree/sub/two words.txt"

aws s3 mb s3://cli-bucket
aws s3 ls | grep -q cli-bucket || fail "ls shows no bucket"
aws s3 cp --no-progress tree/big.bin s3://cli-bucket/big.bin
aws s3 cp --no-progress s3://cli-bucket/big.bin copy.bin
cmp tree/big.bin copy.bin
aws s3 sync --no-progress tree s3://cli-bucket/tree
[ -z "$(aws s3 sync --no-progress tree s3://cli-bucket/tree)" ] || fail "a second sync copied something"
aws s3 ls s3://cli-bucket/tree/ | grep -q 'PRE sub/' || fail "ls shows no prefix"
aws s3 ls --recursive --summarize s3://cli-bucket/ | grep -q 'Total Objects: 4' || fail "not four objects"
aws s3 cp --no-progress --recursive s3://cli-bucket/tree s3://cli-bucket/again
aws s3 sync --no-progress s3://cli-bucket/again back
diff -r tree back
printf piped | aws s3 cp - s3://cli-bucket/piped
[ "$(aws s3 cp s3://cli-bucket/piped -)" = piped ] || fail "the pipe lost its text"
aws s3 mv --no-progress s3://cli-bucket/piped s3://cli-bucket/moved
aws s3api head-object --bucket cli-bucket --key moved >/dev/null
if aws s3api head-object --bucket cli-bucket --key piped 2>err; then fail "a moved key stayed"; fi
grep -q 404 err || fail "$(cat err)"
rm tree/one.txt
aws s3 sync --no-progress --delete tree s3://cli-bucket/tree | grep -q 'delete: s3://cli-bucket/tree/one.txt' || fail "nothing deleted"
aws s3 rm --recursive s3://cli-bucket >/dev/null
aws s3 rb s3://cli-bucket
[ -z "$(aws s3 ls)" ] || fail "a bucket stayed"
