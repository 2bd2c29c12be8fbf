/** The modules of the running kernel: their types by bpf(2), programs that are attached to them, and functions that they offer. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import { AttachType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Sys from "../../src/services/Kernel/sys/Sys.ts"
import * as ConnectionTracking from "../support/ConnectionTracking.ts"
import { inSession, kernelError, progLoad, returning, testRun } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import * as Rights from "../support/Rights.ts"

const folder = "/sys/kernel/btf"

/** The modules that are loaded and have types, as the kernel lists them in sysfs. */
const listed = (): ReadonlyArray<string> => Fs.readdirSync(folder).filter((name) => name !== "vmlinux").sort()

const moduleTypes = Effect.gen(function*() {
  const kernel = yield* KernelLive.make
  const { moduleTypes } = yield* kernel.ask([{ _tag: "ModuleTypes" }])
  return moduleTypes?._tag === "Known" ? moduleTypes.value : assert.fail("modules are not known")
})

// One that is in Debian's kernels, and that virtual machines insert.
describeWith({ kind: "live", files: [`${folder}/veth`] }, "modules of the live kernel", () => {
  it.live("have the types that sysfs shows, split over those of vmlinux", () =>
    Effect.gen(function*() {
      const modules = yield* moduleTypes
      assert.deepStrictEqual(modules.map(({ name }) => name).toSorted(), listed())
      for (const { btf, name, problem } of modules) {
        assert.isUndefined(problem, `${name}: ${problem}`)
        const shown = Fs.readFileSync(Path.join(folder, name))
        assert.isTrue(btf !== undefined && Buffer.compare(btf.bytes, shown) === 0, name)
      }
    }))

  it.live("are had without any file, by descriptors", () =>
    Effect.sync(() => {
      const read: Array<string> = []
      const facts = Facts.fromSources({
        sys: Sys.make,
        release: Os.release(),
        version: Os.version(),
        files: {
          read: (path) => {
            read.push(path)
            return Result.fail(2)
          },
          list: () => Result.fail(2)
        }
      })
      const modules = facts.allModules()
      if (!Rights.identifiers()) return assert.deepStrictEqual(modules, [])
      assert.deepStrictEqual(modules.map(({ name }) => name).toSorted(), listed())
      const veth = modules.find(({ name }) => name === "veth")?.btf
      assert.isTrue(veth !== undefined && Buffer.compare(veth.bytes, Fs.readFileSync(`${folder}/veth`)) === 0)
      assert.notInclude(read, `${folder}/veth`)
    }))

  it.live("have types that refer to vmlinux's", () =>
    Effect.gen(function*() {
      const veth = (yield* moduleTypes).find(({ name }) => name === "veth")?.btf
      if (veth === undefined) return assert.fail("veth has no types")
      const xmit = Btf.findOne(veth, "veth_xmit", Btf.BTF_KIND_FUNC)
      assert.isDefined(xmit)
      const device = Btf.findOne(veth, "net_device", Btf.BTF_KIND_STRUCT)
      const { vmlinuxTypes } = yield* (yield* KernelLive.make).ask([{ _tag: "VmlinuxTypes" }])
      const vmlinux = vmlinuxTypes?._tag === "Known" ? vmlinuxTypes.value : assert.fail("vmlinux has no types")
      assert.strictEqual(device, Btf.findOne(vmlinux, "net_device", Btf.BTF_KIND_STRUCT))
      assert.isUndefined(Btf.findOne(vmlinux, "veth_xmit", Btf.BTF_KIND_FUNC))
    }))

  it.live("have functions that programs are attached to", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const attr = { type: ProgType.BPF_PROG_TYPE_TRACING, expectedAttachType: AttachType.BPF_TRACE_FENTRY }
      const target = { name: "veth_xmit", kind: "Func", weak: false } as const
      const load = session.call(progLoad(0, returning(0), attr, { attachTo: { ...target, module: "veth" } }))
      if (!Rights.identifiers()) {
        const refused = yield* kernelError(load)
        assert.strictEqual(refused.errno, "EPERM")
        return assert.match(refused.hint ?? "", /identifiers, which needs root/)
      }
      yield* load
      const info = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      const veth = (yield* moduleTypes).find(({ name }) => name === "veth")?.btf
      assert.strictEqual(info.attachBtfId, veth && Btf.findOne(veth, target.name, Btf.BTF_KIND_FUNC))
      // Among vmlinux and all modules, too.
      yield* session.call(progLoad(1, returning(0), attr, { attachTo: target }))
      const found = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(1) })
      assert.deepInclude(found, { attachBtfId: info.attachBtfId, attachBtfObjectId: info.attachBtfObjectId })
      const elsewhere = yield* kernelError(
        session.call(progLoad(2, returning(0), attr, { attachTo: { ...target, module: "dummy" } }))
      )
      assert.strictEqual(elsewhere.errno, "ESRCH")
    })))
})

// A module's types go into a load as a descriptor, which is got by an identifier.
describeWith(
  { kind: "live", root: true, files: [`${folder}/nf_conntrack`] },
  "functions that modules offer to programs",
  () => {
    it.live("are called: connection tracking finds no connection", () =>
      inSession(Effect.fnUntraced(function*(session) {
        const code = { insns: ConnectionTracking.insns, refs: ConnectionTracking.refs(false) }
        yield* session.call(progLoad(0, code, { type: ProgType.BPF_PROG_TYPE_XDP }))
        // The error that the function wrote.
        const { retval } = yield* session.call(testRun(0))
        assert.strictEqual(retval | 0, -Errno.numbers.ENOENT)
      })))
  }
)
