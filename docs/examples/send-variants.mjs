// Sends variants to vcf-pipeline over Apache Iggy's HTTP interface; needs node 18 and nothing else. See ../messages.md.
//   IGGY_HTTP=http://localhost:3000 node send-variants.mjs "night run" < variants.ndjson
// A line of the input is one variant: {"chromosome":"1","position":12345,"reference":"A","alternate":"T","quality":30}
import { readFileSync } from "node:fs";
import { randomUUID } from "node:crypto";

const { IGGY_HTTP = "http://localhost:3000", IGGY_USERNAME = "iggy", IGGY_PASSWORD = "iggy" } = process.env;
const { PREFIX = "vcf-pipeline", TENANT = "default", ASSEMBLY = null } = process.env;
const PARTITION = 0, PER_MESSAGE = 1000;
let token = "";

async function post(path, body) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(IGGY_HTTP + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
async function send(stream, topic, message) {  // the offset that it got
  const value = Buffer.from(Uint32Array.of(PARTITION).buffer).toString("base64");
  const payload = Buffer.from(JSON.stringify(message)).toString("base64");
  const body = { partitioning: { kind: "partition_id", value }, messages: [{ payload }] };
  return (await post(`/streams/${stream}/topics/${topic}/messages`, body)).confirmations[0].base_offset;
}

const variants = readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
token = (await post("/users/login", { username: IGGY_USERNAME, password: IGGY_PASSWORD })).access_token.token;
const publish_id = randomUUID(), common = { v: 1, tenant: TENANT, publish_id, producer: "send-variants.mjs" };
let n_chunks = 0, first_offset;
for (let at = 0; at < variants.length; at += PER_MESSAGE, n_chunks++) {
  const chunk = { ...common, id: `${publish_id}/${n_chunks}`, kind: "variants/records", seq: n_chunks };
  const body = variants.slice(at, at + PER_MESSAGE);
  const offset = await send(`${PREFIX}-${TENANT}`, "vcf-variants", { ...chunk, body });
  first_offset ??= offset;
}
const body = { n_chunks, partition: PARTITION, first_offset, label: process.argv[2] ?? "variants", assembly: ASSEMBLY };
if (n_chunks) await send(PREFIX, "vcf-callsets", { ...common, id: `${publish_id}/end`, kind: "variants/end", body });
console.log(JSON.stringify({ publish_id, variants: variants.length, messages: n_chunks }));
