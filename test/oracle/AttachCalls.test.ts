/**
 * The system calls that attach programs by their sections, beside libbpf's: `prog loadall … autoattach` of both, under strace.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Command from "../support/Command.ts"
import { bpffs, describeWith, newBpftool, repository, run, temporaryFolder } from "../support/Require.ts"

const object = Path.join(repository, "test/fixtures/attach/sections.bpf.o")

/**
 * The calls that attach, in order, as strace writes them: without descriptors and the size of structures that may be longer, and
 * without those that only find out what the kernel can do, which it refuses.
 */
const calls = (...command: readonly [string, ...ReadonlyArray<string>]): ReadonlyArray<string> => {
  const trace = Path.join(temporaryFolder(), "trace")
  const folder = Path.join(bpffs(), "attach_calls")
  const [program, ...args] = command
  try {
    const { status, stderr } = run("strace", [
      "-f",
      "-e",
      "trace=bpf,perf_event_open,ioctl",
      "-o",
      trace,
      program,
      ...args,
      "prog",
      "loadall",
      object,
      folder,
      "autoattach"
    ])
    assert.strictEqual(status, 0, stderr)
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true })
  }
  return Fs.readFileSync(trace, "utf8").split("\n").flatMap((line) => {
    if (!/BPF_LINK_CREATE|BPF_RAW_TRACEPOINT_OPEN|perf_event_open|PERF_EVENT_IOC_ENABLE/.test(line)) return []
    const found = /^\d+ +(.*?)\) += (-?\d+)/.exec(line)
    // A program without BTF tells whether there are links to perf events.
    if (found === null || Number(found[2]) < 0) return []
    return [
      (found[1] ?? "")
        .replaceAll(/prog_fd=\d+/g, "prog_fd=FD")
        .replaceAll(/target_fd=[1-9]\d*/g, "target_fd=FD")
        .replaceAll(/ioctl\(\d+/g, "ioctl(FD")
        .replaceAll(/ size=[^,]+,/g, "")
    ]
  })
}

describeWith(
  { kind: "oracle", tools: ["strace"], files: [newBpftool], linux: "6.6", root: true },
  "the calls that attach, beside libbpf's",
  () => {
    it("are the same in the same order", () => {
      const ours = calls(process.execPath, Command.command())
      const theirs = calls(newBpftool)
      // Tracepoint, uprobe and uretprobe take three calls each, the other four kinds one.
      assert.strictEqual(theirs.length, 13)
      assert.deepStrictEqual(ours, theirs)
    })
  }
)
