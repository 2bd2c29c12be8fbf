/** `btf dump` of what is in the kernel: objects of types, programs, maps; the same as bpftool's, byte for byte. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { attaching, load, opened } from "../support/Attaching.ts"
import * as Command from "../support/Command.ts"
import { judges, newer } from "../support/OperatorsBeside.ts"
import { describeWith, run } from "../support/Require.ts"

const environment = { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }

const command = (...args: ReadonlyArray<string>) => Command.run(args, { env: environment })

/** Without what a header begins with, which newer versions have more of. */
const plain = (text: string): string =>
  text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).join("\n")

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "btf dump of the kernel's objects", () => {
  it.live("says what bpftool says", () =>
    attaching(Effect.gen(function*() {
      const { map, program, session } = yield* load(opened("attach/events.bpf.o", "each_task"))
      const prog = yield* session.call({ _tag: "ProgGetInfo", prog: program("each_task") ?? assert.fail() })
      const elements = yield* session.call({ _tag: "MapGetInfo", map: map("elements") ?? assert.fail() })
      const mapWords = ["map", "id", String(elements.id)]
      const asked = [
        ["id", String(prog.btfId)],
        ["prog", "id", String(prog.id), "format", "raw"],
        mapWords,
        [...mapWords, "key"],
        [...mapWords, "value", "format", "c"],
        [...mapWords, "all"]
      ]
      for (const source of asked) {
        const words = ["btf", "dump", ...source]
        const ours = command(...words)
        assert.deepStrictEqual({ status: ours.status, stderr: ours.stderr }, { status: 0, stderr: "" })
        for (const judge of judges) {
          // The order of C is a newer one's.
          if (source.includes("c") && judge !== newer) continue
          assert.strictEqual(
            plain(ours.stdout),
            plain(run(judge.path, words).stdout),
            `${judge.name}: ${words.join(" ")}`
          )
        }
      }
      const words = ["btf", "dump", "id", String(prog.btfId)]
      const ours: unknown = JSON.parse(command(...words, "--json").stdout)
      for (const judge of judges) assert.deepStrictEqual(ours, judge.ask(...words), judge.name)
    })))

  it("says what is missing", () => {
    const failures: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
      [["id", "4294967295"], 1, /ENOENT/],
      [["prog", "name", "nobody_is_called_so"], 2, /no program is called so/],
      [["id", "1", "--base-btf", "vmlinux"], 2, /the kernel knows what its types are split over/],
      [["vmlinux", "format", "json"], 2, /format json: raw or c is expected/]
    ]
    for (const [words, status, message] of failures) {
      const ended = command("btf", "dump", ...words)
      assert.strictEqual(ended.status, status, words.join(" "))
      assert.match(ended.stderr, message, words.join(" "))
    }
  })
})
