/** The buffer of a call on one element is the one that the general layout would give. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Arena from "../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../src/services/Kernel/abi/Attr.ts"
import * as ElementArena from "../../../../src/services/Kernel/abi/ElementArena.ts"

const law = (make: typeof ElementArena.make) =>
  fc.property(
    fc.nat(),
    fc.uint8Array({ maxLength: 20 }),
    fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 0, max: 40 }), fc.constantFrom(4096, 4097)),
    fc.bigInt({ min: -1n, max: 2n ** 64n }),
    (fd, key, value, flags) => {
      const plain = Arena.make(Attr.MapElement, {
        map_fd: fd,
        key: Arena.bytes(key),
        value: typeof value === "number" ? Arena.room(value) : Arena.bytes(value),
        flags
      })
      const made = make(fd, key, value, flags)
      assert.strictEqual(Result.isSuccess(made), Result.isSuccess(plain))
      if (Result.isFailure(made) || Result.isFailure(plain)) return
      const addresses = (arena: Arena.Arena): Uint8Array => {
        Arena.relocate(arena, 0x7fff_0000_1000n)
        return new Uint8Array(arena.buffer)
      }
      assert.deepStrictEqual(Arena.region(made.success, "value"), Arena.region(plain.success, "value"))
      assert.deepStrictEqual(Arena.region(made.success, "key"), Arena.region(plain.success, "key"))
      assert.deepStrictEqual(made.success.pointers, plain.success.pointers)
      assert.deepStrictEqual(addresses(made.success), addresses(plain.success))
    }
  )

describe("the buffer of a call on one element", () => {
  it("is that of the general layout", () => {
    fc.assert(law(ElementArena.make), { numRuns: 200 })
  })

  it("named fault: one that leaves the flags out", () => {
    assert.isTrue(fc.check(law((fd, key, value) => ElementArena.make(fd, key, value, 0n))).failed)
  })
})
