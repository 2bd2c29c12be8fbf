/** Each edge of CO-RE's rules before libbpf: the same instructions or refusals, but where the edge says what it does. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { attempt } from "../../src/internal/attempt.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { type Edge, edges } from "../support/CoreEdges.ts"
import * as Peer from "../support/Peer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { describeWith, temporaryFolder } from "../support/Require.ts"
import { hex, objectFile, show } from "../unit/stages/relocate/core/Records.ts"

const isCrash = (thrown: unknown): thrown is Error => thrown instanceof Error && CRASHED.test(thrown.message)

/** The exit status of a shell's child that a SIGSEGV ended. */
const CRASHED = /status 139/

/** The instructions that libbpf sends, or that it does not relocate them. */
const libbpf = (folder: string, { kernel, local, specs }: Edge): { readonly insns: string } | "refused" | "crashes" => {
  const path = Path.join(folder, "object.o")
  const types = Path.join(folder, "kernel.btf")
  Fs.writeFileSync(path, objectFile(local, specs))
  Fs.writeFileSync(types, B.blob(kernel))
  const loaded = attempt(isCrash, () => Peer.load(path, ["--btf", types]))
  if (Result.isFailure(loaded)) return "crashes"
  const { calls, error } = loaded.success
  const sent = calls?.find(({ command, name, probe }) => command === "PROG_LOAD" && name === "prog" && !probe)
  if (sent !== undefined) {
    const length = specs.reduce((sum, { insn }) => sum + insn.length, 0)
    return { insns: show(Peer.fromHex(sent.insns).subarray(0, length)) }
  }
  assert.match(error?.log ?? "", /relo #\d+|CO-RE|failed to (perform|relocate)/)
  return "refused"
}

describeWith({ kind: "live", ...Libbpf.needs("system") }, "the edges of CO-RE before libbpf", () => {
  for (const [section, list] of Object.entries(edges)) {
    describe(section, () => {
      for (const each of list) {
        it(each.name, () => {
          const expected = each.libbpf ?? ("error" in each.ours ? "refused" : each.ours)
          assert.deepStrictEqual(libbpf(temporaryFolder(), each), expected)
        })
      }
    })
  }

  it("named fault: what is not relocated is seen", () => {
    const [each] = edges["searches in candidates"]?.filter(({ name }) => name.startsWith("structs and unions")) ?? []
    if (each === undefined) return assert.fail("no such edge")
    const before = { insns: show(hex(Buffer.from(each.specs[0]?.insn ?? []).toString("hex"))) }
    assert.notDeepEqual(libbpf(temporaryFolder(), each), before)
  })
})
