/** Facts of a kernel: where each is read, that nothing is read twice, and what happens when modules come and go. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Zlib from "node:zlib"
import * as Btf from "../../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../../src/btf/BtfEdit.ts"
import { numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import { Kernel } from "../../../../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../../../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../../../../src/services/Kernel/live/Facts.ts"
import { machine as real } from "../../../../../src/services/Kernel/live/Files.ts"
import * as Modules from "../../../../../src/services/Kernel/live/Modules.ts"
import { planning } from "../../../../../src/cli/Plan.ts"
import * as Open from "../../../../../src/stages/open/Open.ts"
import { fixture, temporaryFolder } from "../../../../support/Require.ts"
import * as Machine from "../../../../support/ScriptedMachine.ts"

const succeed = <A, E>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw new Error(String(result.failure))
  return result.success
}

const failure = <A, E>(result: Result.Result<A, E>): E => {
  if (Result.isSuccess(result)) throw new Error("succeeded")
  return result.failure
}

/** Types with one function of this name. */
const typesWith = (name: string, base?: Btf.Btf): Btf.Btf => {
  const editor = BtfEdit.make(base === undefined ? {} : { base })
  const proto = editor.addFuncProto(0, [])
  editor.addFunc(name, proto, Btf.BTF_FUNC_GLOBAL)
  return succeed(editor.finish())
}

const vmlinux = typesWith("of_vmlinux")

const moduleTypes = (name: string): Uint8Array => typesWith(name, vmlinux).bytes

/** A machine whose types can be had by descriptors. */
const privileged = (): Machine.Machine => {
  const machine = Machine.make()
  machine.objects.set(1, { name: "vmlinux", bytes: vmlinux.bytes })
  machine.objects.set(2, { name: "", bytes: vmlinux.bytes, isProgram: true })
  machine.objects.set(4, { name: "alpha", bytes: moduleTypes("of_alpha") })
  machine.objects.set(7, { name: "beta", bytes: moduleTypes("of_beta") })
  return machine
}

/** A machine that shows its types in sysfs alone. */
const unprivileged = (): Machine.Machine => {
  const machine = Machine.make()
  machine.refusal = numbers.EPERM
  machine.files.set("/sys/kernel/btf/vmlinux", vmlinux.bytes)
  machine.files.set("/sys/kernel/btf/alpha", moduleTypes("of_alpha"))
  machine.files.set("/sys/kernel/btf/beta", moduleTypes("of_beta"))
  machine.files.set("/proc/modules", "alpha 1 0 - Live 0x0\nbeta 1 0 - Live 0x0\n")
  return machine
}

const has = (btf: Btf.Btf | undefined, name: string): boolean =>
  btf !== undefined && Btf.findOne(btf, name, Btf.BTF_KIND_FUNC) !== undefined

const namesOf = (facts: Facts.Facts): ReadonlyArray<string> => facts.modules().map(({ name }) => name)

const typesOf = (facts: Facts.Facts, name: string) => {
  const module = facts.modules().find((module) => module.name === name)
  if (module === undefined) throw new Error(`${name} is not loaded`)
  return module.types()
}

describe("the types of vmlinux", () => {
  it("come by a descriptor, in one read, and are parsed once", () => {
    const machine = privileged()
    const facts = Facts.fromSources(machine.sources)
    const first = succeed(facts.vmlinux())
    assert.isTrue(has(first, "of_vmlinux"))
    assert.strictEqual(succeed(facts.vmlinux()), first)
    assert.deepStrictEqual([...machine.reads], [["btf:1", 1]])
    assert.strictEqual(machine.open.size, 0)
  })

  it("are those of the object that the kernel calls so, not of a program that does", () => {
    const machine = Machine.make()
    machine.objects.set(1, { name: "vmlinux", bytes: typesWith("forged").bytes, isProgram: true })
    machine.objects.set(2, { name: "vmlinux_not", bytes: typesWith("other").bytes })
    machine.objects.set(3, { name: "n".repeat(64), bytes: typesWith("long").bytes })
    machine.objects.set(9, { name: "vmlinux", bytes: vmlinux.bytes })
    assert.isTrue(has(succeed(Facts.fromSources(machine.sources).vmlinux()), "of_vmlinux"))
    assert.strictEqual(machine.open.size, 0)
  })

  it("come from sysfs where bpf(2) may not be asked, and from debug files after that", () => {
    const machine = unprivileged()
    assert.isTrue(has(succeed(Facts.fromSources(machine.sources).vmlinux()), "of_vmlinux"))
    for (const refusal of [numbers.EPERM, numbers.ENOSYS, numbers.EINVAL, numbers.EMFILE]) {
      const debug = Machine.make()
      debug.refusal = refusal
      debug.files.set("/boot/vmlinux-6.1.2-test", numbers.EACCES)
      debug.files.set("/usr/lib/debug/boot/vmlinux-6.1.2-test", vmlinux.bytes)
      assert.isTrue(has(succeed(Facts.fromSources(debug.sources).vmlinux()), "of_vmlinux"))
    }
    const listed = Machine.make()
    listed.objects.set(2, { name: "", bytes: vmlinux.bytes, isProgram: true })
    listed.files.set("/sys/kernel/btf/vmlinux", vmlinux.bytes)
    assert.isTrue(has(succeed(Facts.fromSources(listed.sources).vmlinux()), "of_vmlinux"), "not listed")
  })

  it("are an error where there are none, or where they are damaged; and are looked for again then", () => {
    const machine = Machine.make()
    const facts = Facts.fromSources(machine.sources)
    const absent = failure(facts.vmlinux())
    assert.strictEqual(absent.errno, "ENOENT")
    assert.include(absent.hint ?? "", "CONFIG_DEBUG_INFO_BTF")
    machine.files.set("/boot/vmlinux-6.1.2-test", numbers.EACCES)
    assert.strictEqual(failure(facts.vmlinux()).errno, "EACCES")
    machine.files.set("/boot/vmlinux-6.1.2-test", "no types")
    assert.strictEqual(failure(facts.vmlinux()).errno, "EBADMSG")
    machine.files.set("/sys/kernel/btf/vmlinux", vmlinux.bytes.subarray(0, 30))
    assert.strictEqual(failure(facts.vmlinux()).subject, "/sys/kernel/btf/vmlinux")
    machine.objects.set(1, { name: "vmlinux", bytes: vmlinux.bytes.subarray(0, 30) })
    assert.strictEqual(failure(facts.vmlinux()).subject, "vmlinux")
    machine.objects.set(1, { name: "vmlinux", bytes: vmlinux.bytes })
    assert.isTrue(has(succeed(facts.vmlinux()), "of_vmlinux"))
  })
})

for (const [how, make] of [["by descriptors", privileged], ["from sysfs", unprivileged]] as const) {
  describe(`the types of modules ${how}`, () => {
    it("are read when they are asked for, and once", () => {
      const machine = make()
      const facts = Facts.fromSources(machine.sources)
      assert.deepStrictEqual(namesOf(facts), ["alpha", "beta"])
      const isContent = (what: string): boolean => /^(btf:|\/sys)/.test(what)
      assert.deepStrictEqual([...machine.reads.keys()].filter(isContent), [], "listing reads no types")
      const beta = succeed(typesOf(facts, "beta"))
      assert.isTrue(has(beta, "of_beta") && has(beta, "of_vmlinux"))
      assert.strictEqual(beta.base, succeed(facts.vmlinux()))
      assert.strictEqual(succeed(typesOf(facts, "beta")), beta)
      assert.strictEqual(facts.allModules().find(({ name }) => name === "beta")?.btf, beta)
      assert.deepStrictEqual([...machine.reads].filter(([what, times]) => isContent(what) && times !== 1), [])
      assert.strictEqual(machine.open.size, 0)
    })

    it("that are broken concern nobody else", () => {
      const machine = make()
      machine.objects.set(4, { name: "alpha", bytes: new Uint8Array(40) })
      machine.files.set("/sys/kernel/btf/alpha", new Uint8Array(40))
      const [alpha, beta] = Facts.fromSources(machine.sources).allModules()
      assert.isUndefined(alpha?.btf)
      assert.match(alpha?.problem ?? "", /EBADMSG/)
      assert.isTrue(has(beta?.btf, "of_beta"))
    })
  })
}

describe("modules that come and go", () => {
  it("are told by the ids of their types", () => {
    const machine = privileged()
    const facts = Facts.fromSources(machine.sources)
    const before = succeed(typesOf(facts, "alpha"))
    const beta = succeed(typesOf(facts, "beta"))
    // The same module again, in another build, while a program still holds the types of the first.
    machine.objects.set(12, { name: "alpha", bytes: moduleTypes("of_alpha_again") })
    assert.deepStrictEqual(namesOf(facts), ["alpha", "beta"])
    const after = succeed(typesOf(facts, "alpha"))
    assert.isTrue(has(after, "of_alpha_again"))
    assert.notStrictEqual(after, before)
    machine.objects.delete(4)
    machine.objects.delete(12)
    machine.objects.set(13, { name: "gamma", bytes: moduleTypes("of_gamma") })
    assert.deepStrictEqual(namesOf(facts), ["beta", "gamma"])
    assert.strictEqual(succeed(typesOf(facts, "beta")), beta, "what stayed is not read again")
    assert.strictEqual(machine.reads.get("btf:7"), 1)
    assert.strictEqual(machine.reads.get("btf:1"), 1)
  })

  it("are told by /proc/modules where ids are not to be had; that they are used more is no change", () => {
    const machine = unprivileged()
    const facts = Facts.fromSources(machine.sources)
    const before = succeed(typesOf(facts, "alpha"))
    machine.files.set("/proc/modules", "alpha 1 5 user1,user2, Live 0x0\nbeta 1 0 - Live 0x0\n")
    assert.strictEqual(succeed(typesOf(facts, "alpha")), before)
    machine.files.set("/proc/modules", "alpha 2 0 - Live 0x0\nbeta 1 0 - Live 0x0\n")
    machine.files.set("/sys/kernel/btf/alpha", moduleTypes("of_alpha_again"))
    assert.isTrue(has(succeed(typesOf(facts, "alpha")), "of_alpha_again"))
    machine.files.delete("/sys/kernel/btf/beta")
    assert.deepStrictEqual(namesOf(facts), ["alpha"])
  })

  it("may go between being listed and being read", () => {
    const machine = privileged()
    machine.objects.set(5, { name: "fleeting", bytes: moduleTypes("x"), vanishes: true })
    const facts = Facts.fromSources(machine.sources)
    const modules = facts.modules()
    assert.deepStrictEqual(modules.map(({ name }) => name), ["alpha", "beta"])
    machine.objects.delete(4)
    assert.strictEqual(failure(modules[0]?.types() ?? Result.fail(new Error("none"))) instanceof Error, true)
    assert.deepStrictEqual(facts.allModules().map(({ name }) => name), ["beta"])
    const files = unprivileged()
    const inSysfs = Facts.fromSources(files.sources)
    const listed = inSysfs.modules()
    files.files.delete("/sys/kernel/btf/alpha")
    const gone = listed[0]?.types()
    assert.isTrue(gone !== undefined && Result.isFailure(gone) && gone.failure.errno === "ENOENT")
  })

  it("another object under the id of one that was described is not taken for it", () => {
    const machine = privileged()
    const facts = Facts.fromSources(machine.sources)
    const listed = facts.modules()
    succeed(facts.vmlinux())
    machine.objects.set(4, { name: "other", bytes: moduleTypes("of_other") })
    const read = listed[0]?.types()
    assert.isTrue(read !== undefined && Result.isFailure(read) && read.failure.errno === "ESTALE")
  })

  it("names that lead elsewhere are no modules", () => {
    const machine = unprivileged()
    machine.files.set("/sys/kernel/btf/..", "x")
    machine.files.set("/sys/kernel/btf/a b", "x")
    const facts = Facts.fromSources(machine.sources)
    assert.deepStrictEqual(namesOf(facts), ["alpha", "beta"])
  })

  it("the fingerprint of a list leaves out who uses a module", () => {
    const of = Modules.fingerprint
    assert.strictEqual(of("a 1 2 b,c, Live 0x5 (O)\n"), of("a 1 0 - Live 0x5 (O)\n"))
    for (
      const other of ["b 1 2 b,c, Live 0x5\n", "a 2 2 b,c, Live 0x5\n", "a 1 2 b, Loading 0x5\n", "a 1 2 b, Live 0x6\n"]
    ) {
      assert.notStrictEqual(of(other), of("a 1 2 b,c, Live 0x5\n"))
    }
  })
})

describe("symbols", () => {
  const table = "ffffffff81000000 T _stext\nffffffff81000010 T one\nffffffff81000020 D two\n"

  it("are read once for all objects, and again after a module has come or gone", () => {
    const machine = unprivileged()
    machine.files.set("/proc/kallsyms", table)
    const facts = Facts.fromSources(machine.sources)
    assert.strictEqual(succeed(facts.addresses(["one", "none"])).of.get("one"), 0xffff_ffff_8100_0010n)
    assert.strictEqual(succeed(facts.addresses(["two", "none"])).of.get("two"), 0xffff_ffff_8100_0020n)
    assert.deepStrictEqual([...succeed(facts.symbolNames()).names.keys()], ["_stext", "one", "two"])
    assert.strictEqual(machine.reads.get("/proc/kallsyms"), 1)
    machine.files.set("/proc/modules", "gamma 1 0 - Live 0x0\n")
    machine.files.set("/proc/kallsyms", `${table}ffffffffc0000000 t none\t[gamma]\n`)
    assert.strictEqual(succeed(facts.addresses(["none"])).of.get("none"), 0xffff_ffff_c000_0000n)
    assert.strictEqual(machine.reads.get("/proc/kallsyms"), 2)
  })

  it("are known to be hidden where every address is 0", () => {
    const machine = Machine.make()
    machine.files.set("/proc/kallsyms", table.replaceAll(/^\S+/gm, "0000000000000000"))
    const facts = Facts.fromSources(machine.sources)
    const found = succeed(facts.addresses(["one", "none"]))
    assert.isTrue(found.hidden)
    assert.deepStrictEqual([...found.of], [["one", 0n], ["none", undefined]])
    assert.isTrue(succeed(facts.symbolNames()).hidden)
    machine.files.delete("/proc/kallsyms")
    assert.strictEqual(failure(Facts.fromSources(machine.sources).addresses(["one"])).errno, "ENOENT")
  })

  it("are not named that belong to programs, and marked where several have a name", () => {
    const machine = Machine.make()
    machine.files.set(
      "/proc/kallsyms",
      `${table}ffffffff81000030 t one\nffffffff81000000 t _stext\nffffffffc0000000 t bpf_prog_x\t[bpf]\n` +
        "ffffffffc0000001 t stub\t[__builtin__bpf]\nffffffff81000040 d own.llvm.77\nno line\n"
    )
    assert.deepStrictEqual([...succeed(Facts.fromSources(machine.sources).symbolNames()).names], [
      ["_stext", "one"],
      ["one", "several"],
      ["two", "one"],
      ["own", "one"]
    ])
  })
})

describe("the configuration", () => {
  const options = "CONFIG_BPF=y\nCONFIG_HZ=250\n"

  it("comes from /boot first, then from the kernel, packed or not; and is read once", () => {
    const machine = Machine.make()
    machine.files.set("/proc/config.gz", Zlib.gzipSync(options))
    const facts = Facts.fromSources(machine.sources)
    assert.deepStrictEqual([...succeed(facts.kconfig())], [["CONFIG_BPF", "y"], ["CONFIG_HZ", "250"]])
    assert.strictEqual(succeed(facts.configuration()), options)
    succeed(facts.kconfig())
    assert.strictEqual(machine.reads.get("/proc/config.gz"), 1)
    machine.files.set("/boot/config-6.1.2-test", "CONFIG_HZ=1000\n")
    assert.strictEqual(succeed(Facts.fromSources(machine.sources).kconfig()).get("CONFIG_HZ"), "1000")
    // A distribution may keep the file to itself.
    machine.files.set("/boot/config-6.1.2-test", numbers.EACCES)
    assert.strictEqual(succeed(Facts.fromSources(machine.sources).kconfig()).get("CONFIG_HZ"), "250")
  })

  it("that is damaged or a bomb is refused", () => {
    const machine = Machine.make()
    machine.files.set("/proc/config.gz", Zlib.gzipSync(options).subarray(0, 20))
    assert.strictEqual(failure(Facts.fromSources(machine.sources).kconfig()).errno, "EBADMSG")
    machine.files.set("/proc/config.gz", Zlib.gzipSync(new Uint8Array(80 << 20)))
    assert.strictEqual(failure(Facts.fromSources(machine.sources).kconfig()).errno, "EBADMSG")
    machine.files.delete("/proc/config.gz")
    assert.include(failure(Facts.fromSources(machine.sources).kconfig()).hint ?? "", "give the options in a file")
  })
})

describe("a layer of the live kernel", () => {
  it.effect("reads for the first object what all that follow need", () =>
    Effect.gen(function*() {
      const machine = privileged()
      const editor = BtfEdit.make()
      const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
      editor.addStruct("task_struct", 8, [{ name: "pid", type: int, bitOffset: 0, bitfieldSize: 0 }])
      machine.objects.set(1, { name: "vmlinux", bytes: succeed(editor.finish()).bytes })
      machine.objects.delete(4)
      machine.objects.delete(7)
      machine.files.set("/sys/devices/system/cpu/possible", "0-3\n")
      const kernel = KernelLive.fromParts({
        sys: () => Result.succeed(machine.sys),
        facts: Facts.fromSources(machine.sources),
        architecture: "x64"
      })
      for (const name of ["core_matches.bpf.o", "events.bpf.o", "core_matches.bpf.o", "events.bpf.o"]) {
        const object = succeed(Open.fromBytes(fixture(name), { path: name }))
        yield* Effect.result(planning({}).run(object).pipe(Effect.provideService(Kernel, kernel)))
      }
      assert.strictEqual(machine.reads.get("btf:1"), 1)
      assert.deepStrictEqual([...machine.reads].filter(([, times]) => times > 1), [])
    }))
})

describe("files", () => {
  it("are read whole, up to a limit", () => {
    const path = Path.join(temporaryFolder(), "file")
    const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index & 0xff)
    Fs.writeFileSync(path, bytes)
    assert.deepStrictEqual(succeed(real.read(path, 200_000)), bytes)
    assert.strictEqual(failure(real.read(path, 199_999)), numbers.EFBIG)
    Fs.writeFileSync(path, "")
    assert.strictEqual(succeed(real.read(path, 0)).length, 0)
  })

  it("that do not tell their size are read to their end, or to the limit", () => {
    const status = succeed(real.read("/proc/self/status", 1 << 20))
    assert.match(new TextDecoder().decode(status), /^Name:/)
    assert.strictEqual(failure(real.read("/proc/self/status", 10)), numbers.EFBIG)
  })

  it("that are none are refused, and not waited for", () => {
    const folder = temporaryFolder()
    assert.strictEqual(failure(real.read(folder, 10)), numbers.EINVAL)
    assert.strictEqual(failure(real.read("/dev/zero", 10)), numbers.EINVAL)
    assert.strictEqual(failure(real.read(Path.join(folder, "absent"), 10)), numbers.ENOENT)
    assert.strictEqual(failure(real.list(Path.join(folder, "absent"))), numbers.ENOENT)
    const pipe = Path.join(folder, "pipe")
    ChildProcess.execFileSync("mkfifo", [pipe])
    assert.strictEqual(failure(real.read(pipe, 10)), numbers.EINVAL)
    assert.deepStrictEqual(succeed(real.list(folder)), ["pipe"])
  })
})
