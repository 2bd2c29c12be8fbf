/** `batch file` on the running kernel, beside bpftool's of the same commands. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Command from "../support/Command.ts"
import { command } from "../support/InProcess.ts"
import { bpffs, describeWith, newBpftool, run, temporaryFolder } from "../support/Require.ts"

/** Commands on a map of this path; the last two fail, and are not run. */
const commands = (pin: string): string => `
# A map, and what is in it.
map create "${pin}" type hash \\
  key 4 value 8 entries 4 name numbers   # in two lines
map update pinned ${pin} key 1 2 3 4 value 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff
map dump pinned ${pin}
map lookup pinned '${pin}' key hex 01 02 03 04
map getnext pinned ${pin}
map lookup pinned ${pin} key 9 9 9 9
map dump pinned ${pin}
map pop pinned ${pin}
`

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "batch file beside bpftool", () => {
  it.live("has the same document: words, outputs, and the same end", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "batch")
      const path = Path.join(temporaryFolder(), "commands")
      Fs.writeFileSync(path, commands(pin))
      const ours = yield* command("batch", "file", path, "--json")
      Fs.rmSync(pin)
      for (const judge of ["bpftool", ...(Fs.existsSync(newBpftool) ? [newBpftool] : [])]) {
        const theirs = run(judge, ["-j", "batch", "file", path])
        Fs.rmSync(pin)
        assert.strictEqual(ours.status === 0, theirs.status === 0)
        assert.strictEqual(ours.stdout, theirs.stdout.trim())
      }
      assert.strictEqual(ours.status, 1)
      assert.match(ours.stderr, /2 commands behind it were not run/)
    }))

  it("reads standard input, in a process of its own", () => {
    const pin = Path.join(bpffs(), "batch")
    const input = `map create ${pin} type array key 4 value 4 entries 1 name one\nmap dump pinned ${pin}\n`
    const ended = Command.run(["batch", "file", "-", "-j"], { input, env: { NODE_NO_WARNINGS: "1" } })
    assert.deepStrictEqual({ status: ended.status, stderr: ended.stderr }, { status: 0, stderr: "" })
    const bytes = ["0x00", "0x00", "0x00", "0x00"]
    assert.deepInclude(JSON.parse(ended.stdout)[1], { output: [{ key: bytes, value: bytes }] })
    Fs.rmSync(pin)
  })
})
