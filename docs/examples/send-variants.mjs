// Sends variants to vcf-pipeline over Apache Iggy's HTTP interface; needs node 18 and nothing else. See ../messages.md.
//   IGGY_HTTP=http://localhost:3000 node send-variants.mjs "night run" < variants.ndjson
// A line of the input is one variant: {"chromosome":"1","position":12345,"reference":"A","alternate":"T","quality":30}
import { readFileSync } from "node:fs";
import { randomUUID } from "node:crypto";

const { IGGY_HTTP = "http://localhost:3000", IGGY_USERNAME = "iggy", IGGY_PASSWORD = "iggy" } = process.env;
const { PREFIX = "vcf-pipeline", TENANT = "default", ASSEMBLY = null } = process.env, [, , label] = process.argv;
const partition = 0, base64 = (bytes) => Buffer.from(bytes).toString("base64");
async function post(path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(IGGY_HTTP + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
const { token } = (await post("/users/login", { username: IGGY_USERNAME, password: IGGY_PASSWORD })).access_token;
async function send(stream, topic, message) {  // the offset that it got
  const partitioning = { kind: "partition_id", value: base64(Uint32Array.of(partition).buffer) };
  const body = { partitioning, messages: [{ payload: base64(JSON.stringify(message)) }] };
  return (await post(`/streams/${stream}/topics/${topic}/messages`, body, token)).confirmations[0].base_offset;
}
const variants = readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const publish_id = randomUUID(), common = { v: 1, tenant: TENANT, publish_id }, offsets = [];
for (let at = 0, seq = 0; at < variants.length; at += 1000, seq++) {
  const message = { ...common, id: `${publish_id}/${seq}`, kind: "variants/records", seq };
  offsets.push(await send(`${PREFIX}-${TENANT}`, "vcf-variants", { ...message, body: variants.slice(at, at + 1000) }));
}
const n_chunks = offsets.length, body = { n_chunks, partition, first_offset: offsets[0], label, assembly: ASSEMBLY };
if (n_chunks) await send(PREFIX, "vcf-callsets", { ...common, id: `${publish_id}/end`, kind: "variants/end", body });
console.log(JSON.stringify({ publish_id, variants: variants.length, messages: n_chunks }));
