import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { check, isKnownOpcode } from "../../../src/insn/Decode.ts"
import * as Encode from "../../../src/insn/Encode.ts"

const message = (code: Uint8Array): string => {
  const result = check(code)
  return Result.isSuccess(result) ? "well formed" : result.failure.message
}

describe("check", () => {
  const load = Encode.ldImm64(1, 5)
  const cases: ReadonlyArray<readonly [string, Uint8Array, string]> = [
    ["no code", new Uint8Array(0), "well formed"],
    ["a 64-bit load", Encode.program(load, Encode.exit()), "well formed"],
    ["half a slot", new Uint8Array(12), "instruction 1: 12 bytes of code are no whole number of 8-byte slots"],
    [
      "a load without its second slot",
      Encode.program(Encode.exit(), load.subarray(0, 8)),
      "instruction 1: the second slot of a 64-bit immediate load is missing"
    ],
    [
      "a load whose second slot is an instruction",
      Encode.program(load.subarray(0, 8), Encode.exit()),
      "instruction 1: the second slot of a 64-bit immediate load has more than an immediate: 0x00000095"
    ],
    [
      "a load whose second slot has registers and an offset",
      Encode.program(load.subarray(0, 8), Encode.raw(0, 1, 2, -3, 0)),
      "instruction 1: the second slot of a 64-bit immediate load has more than an immediate: 0xfffd2100"
    ],
    [
      "an opcode of nothing",
      Encode.program(Encode.exit(), Encode.raw(0x8f, 0, 0, 0, 0)),
      "instruction 1: unknown opcode 0x8f"
    ],
    [
      "the middle of a load",
      load.subarray(8),
      "instruction 0: unknown opcode 0x00 (the second slot of a 64-bit immediate load is no instruction)"
    ],
    ["a 64-bit load as a second slot", Encode.program(load, load), "well formed"]
  ]
  for (const [what, code, expected] of cases) {
    it(what, () => assert.strictEqual(message(code), expected))
  }

  it("does not know what only the verifier makes, nor what is no opcode", () => {
    // nospec, a probing load, a call through arguments, a 64-bit sign-extending load, 64-bit packet load, gotol by register.
    for (const opcode of [0xc2, 0x39, 0xe5 + 0x10, 0x99, 0x38, 0x0e]) {
      assert.isFalse(isKnownOpcode(opcode), String(opcode))
    }
    for (const opcode of [-1, 256, 0.5]) assert.isFalse(isKnownOpcode(opcode))
  })
})
