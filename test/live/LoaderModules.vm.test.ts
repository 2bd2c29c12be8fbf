/** Loaders that look functions of modules up, on kernels that have modules: what they find, and that no types stay open. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Encode from "../../src/insn/Encode.ts"
import { AttachType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall, KernelSymbol } from "../../src/services/Kernel/KernelCall.ts"
import type * as Ref from "../../src/services/Kernel/Ref.ts"
import { assemble, type AssembleOptions } from "../../src/stages/gen/Assemble.ts"
import * as ConnectionTracking from "../support/ConnectionTracking.ts"
import { inSession, progLoad, returning, testRun } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import { runLoader } from "../support/RunLoader.ts"

const folder = "/sys/kernel/btf"

/** What this process has open: types of modules count in other kinds of descriptor than maps and programs. */
const open = (): ReadonlyArray<string> =>
  Fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = Fs.readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith("anon_inode:") ? [`${fd} ${target}`] : []
    } catch {
      return []
    }
  })

const run = (session: Session, calls: ReadonlyArray<KernelCall>, options?: AssembleOptions) =>
  runLoader(session, Result.getOrThrow(assemble(calls, options)))

const adopted = (session: Session, fd: number): Effect.Effect<Ref.ProgRef, unknown> =>
  Effect.map(
    session.adopt({ _tag: "Descriptor", kind: "Prog", fd }),
    (ref) => ref._tag === "Prog" ? ref : assert.fail("no program")
  )

const fentry = { type: ProgType.BPF_PROG_TYPE_TRACING, expectedAttachType: AttachType.BPF_TRACE_FENTRY }
const target = (name: string, module?: string): KernelSymbol => ({
  name,
  kind: "Func",
  weak: false,
  ...(module === undefined ? {} : { module })
})

// Modules that are in Debian's kernels, and that virtual machines insert.
describeWith({ kind: "live", root: true, files: [`${folder}/veth`] }, "loaders and functions of modules", () => {
  it.live("attach to a module's function, with its module or without", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const before = open()
      const published = yield* run(session, [
        progLoad(0, returning(0), fentry, { attachTo: target("veth_xmit", "veth") }),
        progLoad(1, returning(0), fentry, { attachTo: target("veth_xmit") }),
        progLoad(2, returning(0), fentry, { attachTo: target("vfs_read") })
      ], { logLevel: 1 })
      assert.strictEqual(published.retval, 0)
      const { programs } = published.descriptors
      assert.strictEqual(open().length, before.length + 3)
      const infos = yield* Effect.forEach(
        programs,
        (fd) => Effect.flatMap(adopted(session, fd), (prog) => session.call({ _tag: "ProgGetInfo", prog }))
      )
      const [first, second, third] = infos.map(({ attachBtfId, attachBtfObjectId }) => [attachBtfId, attachBtfObjectId])
      yield* session.call(progLoad(0, returning(0), fentry, { attachTo: target("veth_xmit", "veth") }))
      const direct = yield* session.call({ _tag: "ProgGetInfo", prog: { _tag: "Prog", index: 0 } })
      assert.deepStrictEqual(first, [direct.attachBtfId, direct.attachBtfObjectId])
      assert.deepStrictEqual(second, first)
      assert.notDeepEqual(third, first)
      for (const fd of programs) Fs.closeSync(fd)
    })))

  it.live("refuse a function of the kernel itself where one of a module is meant, and close the module's types", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const before = open()
      for (const attachTo of [target("vfs_read", "veth"), target("there_is_no_such_function", "veth")]) {
        const { retval } = yield* run(session, [
          progLoad(0, returning(0), fentry, { attachTo: target("veth_xmit", "veth") }),
          progLoad(1, returning(0), fentry, { attachTo })
        ])
        assert.strictEqual(retval, -Errno.numbers.ENOENT)
        assert.deepStrictEqual(open(), before)
      }
      // R0 has no value: the kernel refuses the program when the module's types are open.
      const bad = { insns: Encode.exit(), refs: [] }
      const refused = yield* run(session, [progLoad(0, bad, fentry, { attachTo: target("veth_xmit") })])
      assert.strictEqual(refused.retval, -Errno.numbers.EACCES)
      assert.deepStrictEqual(open(), before)
    })))
})

describeWith({ kind: "live", root: true, files: [`${folder}/nf_conntrack`] }, "loaders and what modules offer", () => {
  it.live("call it from several programs, weak or strong", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const before = open()
      const programs = [false, true, false].map((weak, index) =>
        progLoad(
          index,
          { insns: ConnectionTracking.insns, refs: ConnectionTracking.refs(weak) },
          { type: ProgType.BPF_PROG_TYPE_XDP }
        )
      )
      const { descriptors, retval } = yield* run(session, programs)
      assert.strictEqual(retval, 0, Errno.fromNumber(-retval))
      assert.strictEqual(open().length, before.length + 3)
      for (const fd of descriptors.programs) {
        const prog = yield* adopted(session, fd)
        const result = yield* session.call({ ...testRun(0), prog })
        assert.strictEqual(result.retval | 0, -Errno.numbers.ENOENT)
        Fs.closeSync(fd)
      }
    })))

  it.live("fail with ENOENT where it is missing, and close what was found", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const before = open()
      const code = { insns: ConnectionTracking.insns, refs: ConnectionTracking.refs(false, "bpf_there_is_none") }
      const { retval } = yield* run(session, [progLoad(0, code, { type: ProgType.BPF_PROG_TYPE_XDP })])
      assert.strictEqual(retval, -Errno.numbers.ENOENT)
      assert.deepStrictEqual(open(), before)
    })))
})
