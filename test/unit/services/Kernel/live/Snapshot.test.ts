/** Snapshots of kernels: what is in one with rights and without, and how its folder appears. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../../src/btf/BtfEdit.ts"
import { numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import * as KernelProfile from "../../../../../src/services/Kernel/KernelProfile.ts"
import * as Facts from "../../../../../src/services/Kernel/live/Facts.ts"
import * as ProfileFolder from "../../../../../src/services/Kernel/live/ProfileFolder.ts"
import * as Snapshot from "../../../../../src/services/Kernel/live/Snapshot.ts"
import { temporaryFolder } from "../../../../support/Require.ts"
import * as Machine from "../../../../support/ScriptedMachine.ts"

const typesWith = (name: string, base?: Btf.Btf): Btf.Btf => {
  const editor = BtfEdit.make(base === undefined ? {} : { base })
  editor.addFunc(name, editor.addFuncProto(0, []), Btf.BTF_FUNC_GLOBAL)
  return Result.getOrThrow(editor.finish())
}

const vmlinux = typesWith("of_vmlinux")

/** A machine with everything, of which bpf(2) may be asked. */
const machine = (): Machine.Machine => {
  const machine = Machine.make("6.1.158-test")
  machine.objects.set(1, { name: "vmlinux", bytes: vmlinux.bytes })
  machine.objects.set(3, { name: "alpha", bytes: typesWith("of_alpha", vmlinux).bytes })
  machine.objects.set(5, { name: "broken", bytes: new Uint8Array(30) })
  machine.files.set("/sys/kernel/btf/vmlinux", vmlinux.bytes)
  machine.files.set("/sys/kernel/btf/alpha", typesWith("of_alpha", vmlinux).bytes)
  machine.files.set("/sys/devices/system/cpu/possible", "0-3\n")
  machine.files.set("/boot/config-6.1.158-test", "CONFIG_HZ=250\n")
  machine.files.set("/proc/kallsyms", "ffffffff81000000 T _stext\nffffffff81000010 T __x64_sys_bpf\n")
  return machine
}

const snapshot = (machine: Machine.Machine, options: Snapshot.SnapshotOptions = {}): KernelProfile.KernelProfile =>
  Snapshot.fromSources({
    sys: () => Result.succeed(machine.sys),
    facts: Facts.fromSources(machine.sources),
    files: machine.sources.files,
    architecture: "x64"
  }, options)

const modulesOf = (profile: KernelProfile.KernelProfile) =>
  KernelProfile.moduleTypes(profile)?.map(({ btf, name, problem }) => [name, btf !== undefined, problem])

describe("a snapshot", () => {
  it("has all that the kernel tells", () => {
    const profile = snapshot(machine(), { modules: true, symbols: true })
    assert.deepInclude(profile, {
      release: "6.1.158-test",
      architecture: "x64",
      pageSize: 4096,
      possibleCpus: 4,
      kernelVersion: 0x06019e,
      configuration: "CONFIG_HZ=250\n"
    })
    assert.isTrue(KernelProfile.hasFeature(profile, "SyscallWrapper"))
    assert.deepStrictEqual(profile.vmlinux?.bytes, vmlinux.bytes)
    assert.deepStrictEqual([...profile.symbols ?? []], [["_stext", "one"], ["__x64_sys_bpf", "one"]])
    const modules = modulesOf(profile)
    assert.deepStrictEqual(modules?.[0], ["alpha", true, undefined])
    assert.match(String(modules?.[1]?.[2]), /^broken: EBADMSG$/)
  })

  it("has names of modules and no symbols, unless they are asked for", () => {
    const taken = machine()
    const profile = snapshot(taken)
    assert.deepStrictEqual(modulesOf(profile)?.map(([name, has]) => [name, has]), [["alpha", false], ["broken", false]])
    assert.match(String(modulesOf(profile)?.[0]?.[2]), /--modules/)
    assert.isUndefined(profile.symbols)
    assert.match(profile.missing["symbols"] ?? "", /--symbols/)
    assert.isUndefined(taken.reads.get("btf:3"))
  })

  it("without rights has what everybody may read, and why the rest is not there", () => {
    const unprivileged = machine()
    unprivileged.refusal = numbers.EPERM
    const profile = snapshot(unprivileged, { modules: true })
    assert.deepInclude(profile, { pageSize: 4096, possibleCpus: 4, kernelVersion: 0x06019e })
    assert.deepStrictEqual(profile.vmlinux?.bytes, vmlinux.bytes)
    assert.deepStrictEqual(modulesOf(profile), [["alpha", true, undefined]])
    assert.isUndefined(profile.features.BpfCookie)
    assert.match(profile.missing["features.BpfCookie"] ?? "", /EPERM/)
    assert.isTrue(profile.features.SyscallWrapper)
  })

  it("of a kernel that tells nothing says so of every fact, and is a profile nevertheless", () => {
    const silent = Machine.make("odd")
    silent.refusal = numbers.EPERM
    const profile = snapshot(silent, { symbols: true })
    for (const fact of ["possible_cpus", "kernel_version", "config", "btf", "symbols", "features.BpfCookie"]) {
      assert.isString(profile.missing[fact], fact)
    }
    assert.match(profile.missing["btf"] ?? "", /vmlinux.*: ENOENT$/)
    const read = Result.getOrThrow(KernelProfile.decode(KernelProfile.inMemory(KernelProfile.encode(profile))))
    assert.deepInclude(read, { release: "odd", vmlinux: undefined, modules: [], missing: profile.missing })
  })

  it("says that names which several symbols have are not marked where addresses are hidden", () => {
    const hidden = machine()
    hidden.files.set("/proc/kallsyms", "0000000000000000 T one\n0000000000000000 t one\n")
    const profile = snapshot(hidden, { symbols: true })
    assert.deepStrictEqual([...profile.symbols ?? []], [["one", "one"]])
    assert.match(profile.missing["symbols"] ?? "", /hidden/)
  })
})

describe("the folder of a profile", () => {
  const files = KernelProfile.encode(snapshot(machine(), { modules: true, symbols: true }))

  const namesIn = (folder: string): ReadonlyArray<string> =>
    Fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()

  const errorOf = <A>(effect: Effect.Effect<A, KernelProfile.ProfileError>) => Effect.flip(effect)

  it.effect("appears with all files, and is read again", () =>
    Effect.gen(function*() {
      const parent = temporaryFolder()
      const folder = Path.join(parent, "profile")
      yield* ProfileFolder.write(folder, files)
      assert.deepStrictEqual(namesIn(parent), [
        "profile",
        "profile/btf",
        "profile/btf/alpha",
        "profile/btf/vmlinux",
        "profile/config",
        "profile/profile.json",
        "profile/symbols"
      ])
      const ordinary = Path.join(temporaryFolder(), "ordinary")
      Fs.mkdirSync(ordinary)
      assert.strictEqual(Fs.statSync(folder).mode & 0o777, Fs.statSync(ordinary).mode & 0o777, "others may read it")
      const profile = yield* ProfileFolder.open(folder)
      assert.deepStrictEqual([...KernelProfile.encode(profile)], [...files])
    }))

  it.effect("takes the place of an empty folder, and of nothing else unasked", () =>
    Effect.gen(function*() {
      const parent = temporaryFolder()
      const folder = Path.join(parent, "profile")
      Fs.mkdirSync(folder)
      yield* ProfileFolder.write(`${folder}/`, files)
      const again = yield* errorOf(ProfileFolder.write(folder, files))
      assert.match(again.message, /profile: it is there already, and not empty\nhint: .*--replace/)
      yield* ProfileFolder.write(folder, new Map([...files].filter(([name]) => name !== "symbols")), { replace: true })
      assert.isFalse(Fs.existsSync(Path.join(folder, "symbols")))
      assert.deepStrictEqual(Fs.readdirSync(parent), ["profile"], "nothing else is left")
    }))

  it.effect("does not replace what is no profile, nor what a link leads to", () =>
    Effect.gen(function*() {
      const parent = temporaryFolder()
      const home = Path.join(parent, "home")
      Fs.mkdirSync(home)
      Fs.writeFileSync(Path.join(home, "letters"), "dear")
      const link = Path.join(parent, "link")
      yield* ProfileFolder.write(Path.join(parent, "profile"), files)
      Fs.symlinkSync(Path.join(parent, "profile"), link)
      const file = Path.join(parent, "file")
      Fs.writeFileSync(file, "text")
      for (const path of [home, link, file]) {
        yield* errorOf(ProfileFolder.write(path, files, { replace: true }))
      }
      assert.strictEqual(Fs.readFileSync(Path.join(home, "letters"), "utf8"), "dear")
      assert.strictEqual(Fs.readFileSync(file, "utf8"), "text")
      assert.isTrue(Fs.lstatSync(link).isSymbolicLink())
      assert.isTrue(Fs.existsSync(Path.join(parent, "profile/profile.json")))
      assert.deepStrictEqual(Fs.readdirSync(parent).sort(), ["file", "home", "link", "profile"])
    }))

  it.effect("is not there where it cannot be written, and nothing else is", () =>
    Effect.gen(function*() {
      const parent = temporaryFolder()
      const absent = yield* errorOf(ProfileFolder.write("/proc/no/such/place", files))
      assert.strictEqual(absent.reason, "Io")
      Fs.writeFileSync(Path.join(parent, "file"), "")
      yield* errorOf(ProfileFolder.write(Path.join(parent, "file/profile"), files))
      // The second file cannot be made: the first has the name of its folder.
      const clashing = new Map([["btf", new Uint8Array(1)], ["btf/vmlinux", new Uint8Array(1)]])
      yield* errorOf(ProfileFolder.write(Path.join(parent, "profile"), clashing))
      assert.deepStrictEqual(Fs.readdirSync(parent), ["file"])
    }))

  it.effect("may also be a file of types", () =>
    Effect.gen(function*() {
      const file = Path.join(temporaryFolder(), "vmlinux.btf")
      Fs.writeFileSync(file, vmlinux.bytes)
      const profile = yield* ProfileFolder.open(file)
      assert.deepStrictEqual(profile.vmlinux?.bytes, vmlinux.bytes)
      assert.deepInclude(profile, { release: "", byteOrder: vmlinux.byteOrder, modules: undefined })
      Fs.writeFileSync(file, "text")
      assert.match((yield* errorOf(ProfileFolder.open(file))).message, /neither BTF nor an ELF file[^]*hint: raw BTF/)
    }))

  it.effect("is refused with its path where a file of it is hostile", () =>
    Effect.gen(function*() {
      const folder = Path.join(temporaryFolder(), "profile")
      yield* ProfileFolder.write(folder, files)
      assert.match((yield* errorOf(ProfileFolder.open(`${folder}/nothing`))).message, /nothing: there is no such file/)
      const config = Path.join(folder, "config")
      Fs.rmSync(config)
      ChildProcess.execFileSync("mkfifo", [config])
      assert.match((yield* errorOf(ProfileFolder.open(folder))).message, /^.*\/profile\/config: it is no regular file/)
      Fs.rmSync(config)
      Fs.writeFileSync(config, "")
      Fs.truncateSync(config, 65 << 20)
      assert.match((yield* errorOf(ProfileFolder.open(folder))).message, /\/config: it has more than \d+ bytes/)
      Fs.rmSync(Path.join(folder, "profile.json"))
      assert.match((yield* errorOf(ProfileFolder.open(folder))).message, /profile\.json: .*no kernel profile\nhint/)
    }))
})
