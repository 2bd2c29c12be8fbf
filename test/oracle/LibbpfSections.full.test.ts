/**
 * A program of every kind of section, loaded by itself, before its judge: the bpf(2) calls are those of libbpf, 1.5 and
 * Debian's 1.1, as in `LibbpfCalls.test.ts`.
 */
import { assert, it } from "@effect/vitest"
import * as Path from "node:path"
import * as Libbpf from "../support/Libbpf.ts"
import { type DeliberateName, loadDifferences, whichDeliberate } from "../support/LoadedBeside.ts"
import { loadOurs } from "../support/LoadOurs.ts"
import type { CallDifference } from "../support/Normalise.ts"
import * as Peer from "../support/Peer.ts"
import { describeWith, fixture, repository } from "../support/Require.ts"

const name = "section_kinds.bpf.o"
const path = Path.join(repository, "test/fixtures", name)

/** How they differ, all together. */
const judges: ReadonlyArray<{ readonly version: Libbpf.Version; readonly differing: ReadonlyArray<DeliberateName> }> = [
  { version: "system", differing: ["beforeAnyCall", "kernelVersion", "newerSection", "usdtForMany"] },
  { version: "1.5", differing: ["beforeAnyCall", "kernelVersion", "newerSection"] }
]

const show = ({ at, field, libbpf, ours }: CallDifference): string =>
  `${at}: ${field} is ${ours}, libbpf has ${libbpf}`.slice(0, 2000)

for (const { differing, version } of judges) {
  describeWith({ kind: "live", ...Libbpf.needs(version) }, `the calls of a load, beside libbpf (${version})`, () => {
    it("programs of every kind of section, each by itself", async () => {
      const shown = new Set<DeliberateName>()
      let loaded = 0
      const flags = new Set<number>()
      const attachTypes = new Set<number>()
      for (const { name: only, section } of Peer.open(path).programs ?? []) {
        const libbpf = Peer.load(path, ["--only", only], version)
        const ours = await loadOurs(fixture(name), { path: path, only })
        const found = loadDifferences(ours, libbpf)
        assert.deepStrictEqual(found.filter((each) => !whichDeliberate(each)).map(show), [], section)
        for (const { command, expected_attach_type: type, probe, prog_flags: each } of libbpf.calls ?? []) {
          if (command !== "PROG_LOAD" || probe) continue
          flags.add(each ?? 0)
          attachTypes.add(type ?? 0)
        }
        for (const kind of found.map(whichDeliberate)) if (kind !== undefined) shown.add(kind)
        if (ours.error === undefined && libbpf.error === undefined) loaded++
      }
      assert.deepStrictEqual([...shown].sort(), differing)
      assert.isAbove(loaded, 50)
      // Among what was compared are programs that sleep (.s), take packets in parts (.frags), and are for many (.multi).
      assert.includeMembers([...flags], [0, 0x10, 0x20])
      assert.include([...attachTypes], 42)
    }, 180_000)
  })
}
