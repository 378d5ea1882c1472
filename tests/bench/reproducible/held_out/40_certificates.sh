# Keys, serial numbers and dates of certificates.
# equal: D1
# varies
# needs: openssl
set -eu
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=ca -days 30 -out ca.pem
openssl req -new -newkey rsa:1024 -nodes -keyout leaf.key -subj /CN=leaf -out leaf.csr 2>/dev/null
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 5 -out leaf.pem 2>/dev/null
openssl verify -CAfile ca.pem leaf.pem
openssl x509 -in leaf.pem -noout -serial -dates -fingerprint
openssl rand -base64 24
echo hello | openssl enc -aes-128-cbc -pbkdf2 -pass pass:x -base64
sha256sum ./*.key ./*.pem ca.srl
