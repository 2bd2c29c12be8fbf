/** What commands print with `--json` that have nothing to say, or little: held against its schema where it is run. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { bpffs, describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true }, "documents of maps and their elements", () => {
  it.live("are as their schemas say", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "documents")
      const said = (...args: ReadonlyArray<string>) =>
        Effect.map(command("map", ...args, "--json"), ({ status, stderr, stdout }): unknown => {
          assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" }, args.join(" "))
          return JSON.parse(stdout)
        })
      const made = ["type", "percpu_hash", "key", "2", "value", "4", "entries", "8", "name", "documents"]
      assert.isNull(yield* said("create", pin, ...made))
      const value = Array.from({ length: 4 }, () => "7")
      assert.isNull(yield* said("update", "pinned", pin, "key", "1", "0", "value", ...value))
      const dumped = yield* said("dump", "pinned", pin)
      assert.deepInclude(Array.isArray(dumped) ? dumped[0] : undefined, { key: ["0x01", "0x00"] })
      assert.deepStrictEqual(yield* said("getnext", "pinned", pin), { key: null, next_key: ["0x01", "0x00"] })
      const last = yield* command("map", "getnext", "pinned", pin, "key", "1", "0", "--json")
      assert.deepStrictEqual({ status: last.status, stdout: last.stdout }, { status: 1, stdout: "null" })
      assert.isNull(yield* said("delete", "pinned", pin, "key", "1", "0"))
      assert.deepStrictEqual(yield* said("dump", "pinned", pin), [])
      Fs.rmSync(pin)
    }))
})
