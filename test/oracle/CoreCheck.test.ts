/**
 * Cells beside the stage that relocates for a load, on real kernels: nothing fatal but where that stage refuses the object
 * or leaves an instruction that must not be reached and is; and everything there.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as Compatibility from "../../src/diagnostics/Compatibility.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as CoreReport from "../../src/stages/relocate/CoreReport.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { check } from "../support/Documents.ts"
import {
  allFixtures,
  describeWith,
  kernel,
  kernelsFolder,
  repository,
  run,
  temporaryFolder
} from "../support/Require.ts"
import { opened } from "../unit/stages/Pipeline.ts"

const running = "/sys/kernel/btf/vmlinux"

/** Whether a load would be refused before the kernel sees it, or by the verifier for what is missing. */
const isRefused = (object: BpfObject, types: Btf.Btf): boolean => {
  // What types do not tell is as it should be: the matrix does not look at it either.
  const facts = KernelInfo.add(
    KernelInfo.make({ release: "", architecture: "x64", byteOrder: types.byteOrder }),
    {
      vmlinuxTypes: KernelInfo.known(types),
      moduleTypes: KernelInfo.known([]),
      kernelVersion: KernelInfo.known(1),
      pageSize: KernelInfo.known(4096),
      symbols: new Map(object.externs.map(({ name }) => [name, KernelInfo.known(1n)])),
      features: new Map(KernelInfo.features.map((feature) => [feature, KernelInfo.known(KernelInfo.supported)]))
    }
  )
  const kconfig = object.externs.flatMap((extern) =>
    extern._tag === "Kconfig" && extern.name.startsWith("CONFIG_")
      ? [`${extern.name}=${extern.kind === "string" ? "\"text\"" : extern.kind === "int" ? "1" : "y"}`]
      : []
  ).join("\n")
  const relocated = Relocate.toObject(object, facts, { kconfig })
  if (Result.isFailure(relocated)) return true
  if (relocated.success._tag === "Needs") {
    throw new Error(relocated.success.requirements.map(KernelInfo.describe).join())
  }
  return CoreReport.of(relocated.success.value).some(({ entries }) =>
    entries.some(({ outcome }) => outcome._tag === "Poisoned" && outcome.verdict === "reachable")
  )
}

/** Rules that are about more than relocating: what they look for is of interest when maps and programs are loaded. */
const beyond: ReadonlySet<Compatibility.Rule> = new Set(["attach-target", "struct-ops", "kernel-feature"])

describeWith({ kind: "oracle", files: [running, kernelsFolder] }, "cells on real kernels", () => {
  const paths = [running, kernel("6.1").btf, kernel("6.1", "oldest").btf, kernel("6.12").btf]
  const names = allFixtures().filter((name) => name.endsWith(".bpf.o"))
  const objects = names.flatMap((name) => {
    try {
      return [opened(name)]
    } catch {
      return []
    }
  })

  /** Where the two differ, with what `check` makes of a cell. */
  const differences = (check: (object: BpfObject, target: Compatibility.Target) => Compatibility.Cell) =>
    paths.flatMap((path) => {
      const types = Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(path))))
      const target = Compatibility.target(path, KernelProfile.fromTypesAlone(types))
      if (target === undefined) return assert.fail("a kernel has types")
      return objects.flatMap((object) => {
        const cell = check(object, target)
        const fatal = cell.findings.some(({ rule, verdict }) => verdict === "fatal" && !beyond.has(rule))
        return fatal === isRefused(object, types) ? [] : [`${object.name} on ${path}: ${cell.verdict}`]
      })
    })

  it("are fatal where relocating fails or leaves what must not be reached, and nowhere else", () => {
    assert.isAbove(objects.length, 20)
    assert.deepStrictEqual(
      differences((object, target) => Compatibility.check(Compatibility.prepare(object), target)),
      []
    )
  })

  it("named fault: missing functions do not count", () => {
    const wrong = differences((object, target) => {
      const cell = Compatibility.check(Compatibility.prepare(object), target)
      return { ...cell, findings: cell.findings.filter(({ rule }) => rule !== "kernel-function") }
    })
    assert.isNotEmpty(wrong)
  })

  it("have one history for each kernel, with the fields that Linux moved and renamed", () => {
    const folder = temporaryFolder()
    const json = Path.join(folder, "matrix.json")
    const done = run("sh", [
      "-c",
      `"$@" > "${json}"; [ $? -le 1 ]`,
      "sh",
      process.execPath,
      Path.join(repository, "src/bin.ts"),
      "core",
      "check",
      Path.join(repository, "test/fixtures/core_reads.bpf.o"),
      ...paths.flatMap((path) => ["--btf", path]),
      "--json"
    ])
    assert.strictEqual(done.status, 0, done.stderr)
    const document: {
      readonly kernels: ReadonlyArray<{ readonly name: string }>
      readonly history: ReadonlyArray<
        { readonly path: string; readonly runs: ReadonlyArray<{ readonly state: string }> }
      >
    } = JSON.parse(Fs.readFileSync(json, "utf8"))
    check(["core", "check", "--json"], { status: 0, stdout: Fs.readFileSync(json, "utf8") })
    assert.deepStrictEqual(document.kernels.map(({ name }) => name).at(-1), "running")
    const pid = document.history.find((each) => each.path === "struct task_struct.pid")
    assert.isAbove(pid?.runs.length ?? 0, 1)
    assert.isTrue(pid?.runs.every(({ state }) => state === "present"))
    const state = document.history.find((each) => each.path === "struct task_struct.state")
    assert.deepStrictEqual(state?.runs.map((each) => each.state), ["absent"])
  })
})
