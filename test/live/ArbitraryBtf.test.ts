/** The running kernel judges the generator: what it makes as well-formed is loaded, and damage is refused. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fc from "fast-check"
import * as Os from "node:os"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { BTF_KIND_DECL_TAG, BTF_KIND_TYPE_TAG } from "../../src/btf/Btf.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import type { CProgram } from "../support/arbitrary/BtfC.ts"
import { inSession } from "../support/LiveKernel.ts"
import { describeWith, runs } from "../support/Require.ts"

const load = (bytes: Uint8Array): Promise<Exit.Exit<unknown, unknown>> =>
  Effect.runPromiseExit(inSession((session) => session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes })))

const order = Os.endianness() === "LE" ? "little" : "big"

/** Whether the kernel knows that a tag may be an attribute: since 6.15, and no feature that a loader would ask for. */
const attributes = async (): Promise<boolean> => {
  const types = [B.int("int", 4), B.typeTag("tag", 1, true), B.ptr(2)]
  return Exit.isSuccess(await load(Arbitrary.write(types, { order }).bytes))
}

/** The program's types, where the kernel does not know attributes with tags that are none. */
const written = (program: CProgram, attributes: boolean): Uint8Array => {
  const { types } = Arbitrary.writeProgram(program, { order })
  const isTag = (kind: number): boolean => kind === BTF_KIND_DECL_TAG || kind === BTF_KIND_TYPE_TAG
  return Arbitrary.write(
    attributes ? types : types.map((type) => isTag(type.kind) ? { ...type, kflag: false } : type),
    { order }
  ).bytes
}

const programs = Arbitrary.programs({ loadable: true })

describeWith({ kind: "live" }, "arbitrary BTF on the running kernel", () => {
  it("is accepted where it is well-formed", async () => {
    const known = await attributes()
    await fc.assert(
      fc.asyncProperty(programs, async (program) => {
        const exit = await load(written(program, known))
        if (Exit.isFailure(exit)) assert.fail(String(exit.cause))
      }),
      { numRuns: runs(150) }
    )
  })

  it("would be refused for a struct that is too small", async () => {
    const shrunk = fc.asyncProperty(programs, async (program) => {
      const { types } = Arbitrary.writeProgram(program)
      const cut = types.map((type) => type.kind === 4 && (type.word ?? 0) > 1 ? { ...type, word: 1 } : type)
      assert.isTrue(Exit.isSuccess(await load(Arbitrary.write(cut, {}).bytes)))
    })
    assert.isTrue((await fc.check(shrunk, { numRuns: 1000 })).failed)
  })
})
