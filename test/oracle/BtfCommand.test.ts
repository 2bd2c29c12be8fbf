/** `btf` as a process, on what the running kernel shows, beside bpftool; and the same result from one file to the next. */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

/** Runs the command with its output in a file. */
const command = (...args: ReadonlyArray<string>): string => {
  const out = Path.join(temporaryFolder(), "out")
  const done = run("sh", [
    "-c",
    "out=$1; shift; exec \"$@\" > \"$out\"",
    "sh",
    out,
    process.execPath,
    "src/bin.ts",
    ...args
  ], {
    cwd: repository
  })
  assert.deepInclude(done, { status: 0, stderr: "" })
  return Fs.readFileSync(out, "utf8")
}

describeWith({ kind: "oracle", tools: ["bpftool"], files: [vmlinux] }, "btf of the running kernel", () => {
  it("is listed as bpftool lists it, by name and by path", () => {
    const expected = run("bpftool", ["btf", "dump", "file", vmlinux]).stdout
    assert.isTrue(command("btf", "dump", "vmlinux") === expected)
    assert.isTrue(command("btf", "dump", vmlinux) === expected)
  })

  it("has no difference from itself, deduplicated and copied to a file", () => {
    const copy = Path.join(temporaryFolder(), "copy.btf")
    command("btf", "dedup", "vmlinux", "-o", copy)
    assert.match(command("btf", "diff", "vmlinux", copy), /\n\d+ same, 0 changed, 0 removed, 0 added\n$/)
  })
})
