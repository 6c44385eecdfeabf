// What the flows share: names, pages, refusals.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

export const name = () => "js-" + randomUUID().slice(0, 13);

export async function all(pages, member) {
  const out = [];
  let n = 0;
  for await (const page of pages) {
    n++;
    out.push(...(page[member] ?? []));
  }
  return [out, n];
}

// refused checks the class of an error, and that the SDK asked once only.
export async function refused(client, command, type) {
  await assert.rejects(client.send(command), (e) => {
    if (typeof type === "string") assert.equal(e.name, type, e);
    else assert.ok(e instanceof type, `${e.name}: ${e.message}`);
    assert.equal(e.$metadata.attempts, 1);
    assert.ok(e.$metadata.requestId || e.$metadata.extendedRequestId);
    return true;
  });
}
