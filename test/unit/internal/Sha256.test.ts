import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { sha256 } from "../../../src/internal/Sha256.ts"

const judge = (message: Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(message).digest())

describe("SHA-256", () => {
  it("is Node's, for messages of any length", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (message) => {
      assert.deepStrictEqual(sha256(message), judge(message))
    }))
  })

  it("pads around the ends of blocks", () => {
    for (let length = 50; length < 135; length++) {
      const message = new Uint8Array(length).fill(length)
      assert.deepStrictEqual(sha256(message), judge(message), String(length))
    }
  })

  it("named fault: without the length behind it, a message and itself with a zero would be alike", () => {
    assert.notDeepEqual(sha256(new Uint8Array(3)), sha256(new Uint8Array(4)))
  })
})
