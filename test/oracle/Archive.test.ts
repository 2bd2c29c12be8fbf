/**
 * Archives as Info-ZIP makes them, and binaries in them: what `zip -0` stored is found where it lies, and functions of a
 * member at their place in the archive.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as BinaryFile from "../../src/attach/BinaryFile.ts"
import * as Archive from "../../src/services/Elf/Archive.ts"
import * as FunctionOffset from "../../src/services/Elf/FunctionOffset.ts"
import { describeWith, run, runs, temporaryFolder } from "../support/Require.ts"

const done = (tool: string, args: ReadonlyArray<string>, cwd: string, input?: string): void => {
  const { status, stderr } = run(tool, args, { cwd, ...(input === undefined ? {} : { input }) })
  assert.strictEqual(status, 0, `${tool} ${args.join(" ")}: ${stderr}`)
}

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

const reasonOf = (result: Result.Result<unknown, object>): unknown =>
  Result.isSuccess(result) ? "none" : Reflect.get(result.failure, "reason")

const memberOf = (bytes: Uint8Array, name: string) =>
  Result.flatMap(Archive.open(bytes), (archive) => Archive.member(archive, name))

/** A shared library of ours, in a folder with an unusual name. */
const library = (): { readonly folder: string; readonly path: string } => {
  const folder = Path.join(temporaryFolder(), "a folder: of ours")
  Fs.mkdirSync(Path.join(folder, "lib/x86_64"), { recursive: true })
  const path = Path.join(folder, "lib/x86_64/libfoo.so")
  const source = "int foo(int x) { return x + 1; }\nint bar(int x) { return foo(x) * 2; }\n"
  done("cc", ["-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", path], folder, source)
  return { folder, path }
}

describeWith({ kind: "oracle", tools: ["zip"] }, "archives by zip -0", () => {
  it("give back what was stored, with and without a comment, folders included", () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9_ .:]{0,8}[a-z]$/), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(
        names.chain((all) =>
          fc.record(Object.fromEntries(all.map((name) => [name, fc.uint8Array({ maxLength: 300 })])))
        ),
        fc.option(fc.stringMatching(/^[a-z ]{1,40}$/), { nil: undefined }),
        (files, comment) => {
          const folder = temporaryFolder()
          Fs.mkdirSync(Path.join(folder, "in"))
          for (const [name, bytes] of Object.entries(files)) Fs.writeFileSync(Path.join(folder, "in", name), bytes)
          done("zip", ["-0", "-q", "-r", "all.zip", "in"], folder)
          if (comment !== undefined) done("zip", ["-q", "-z", "all.zip"], folder, `${comment}\n`)
          const archive = read(Path.join(folder, "all.zip"))
          assert.strictEqual(Result.getOrThrow(Archive.open(archive)).count, Object.keys(files).length + 1)
          for (const [name, bytes] of Object.entries(files)) {
            const { offset, size } = Result.getOrThrow(memberOf(archive, `in/${name}`))
            assert.deepStrictEqual(archive.slice(offset, offset + size), bytes)
          }
        }
      ),
      { numRuns: runs(20) }
    )
  })

  it("say of members that zip compressed or encrypted what they are", () => {
    const folder = temporaryFolder()
    Fs.writeFileSync(Path.join(folder, "long"), "a".repeat(5000))
    done("zip", ["-q", "-9", "deflated.zip", "long"], folder)
    done("zip", ["-q", "-0", "-P", "p", "encrypted.zip", "long"], folder)
    assert.strictEqual(reasonOf(memberOf(read(Path.join(folder, "deflated.zip")), "long")), "Compressed")
    assert.strictEqual(reasonOf(memberOf(read(Path.join(folder, "encrypted.zip")), "long")), "Encrypted")
  })

  it("with damage give an answer or a tagged error", () => {
    const folder = temporaryFolder()
    Fs.writeFileSync(Path.join(folder, "one"), "1".repeat(50))
    Fs.writeFileSync(Path.join(folder, "two"), "2".repeat(70))
    done("zip", ["-q", "-0", "all.zip", "one", "two"], folder)
    const bytes = read(Path.join(folder, "all.zip"))
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const copy = bytes.slice()
        copy[at] = value
        const found = memberOf(copy, "two")
        if (Result.isFailure(found)) assert.include(["ArchiveError", "ByteSourceError"], found.failure._tag)
        else assert.isAtMost(found.success.offset + found.success.size, copy.length)
      }),
      { numRuns: runs(2000) }
    )
  })
})

describeWith({ kind: "oracle", tools: ["zip", "cc"] }, "functions of members", () => {
  it("are at their place in the archive, whatever folder it is in", async () => {
    const { folder, path } = library()
    done("zip", ["-q", "-0", "app: one.apk", "lib/x86_64/libfoo.so"], folder)
    const archive = Path.join(folder, "app: one.apk")
    const [bar] = await Effect.runPromise(BinaryFile.functions(`${archive}!/lib/x86_64/libfoo.so`, ["bar"]))
    assert.isDefined(bar)
    assert.strictEqual(bar?.path, archive)
    const alone = Result.getOrThrow(FunctionOffset.find(read(path), "bar"))
    assert.strictEqual(bar?.function.offset, alone.offset)
    const code = read(archive).subarray(Number(bar?.offset), Number(bar?.offset) + 8)
    assert.deepStrictEqual(code, read(path).subarray(Number(alone.offset), Number(alone.offset) + 8))
    const matched = await Effect.runPromise(
      BinaryFile.functionsMatching(`${archive}!/lib/x86_64/libfoo.so`, "?a?")
    )
    assert.deepStrictEqual(matched.map(({ offset }) => offset), [bar?.offset])
  })

  it("fail with what is wrong, and the name that was asked for", async () => {
    const { folder } = library()
    done("zip", ["-q", "-9", "app.apk", "lib/x86_64/libfoo.so"], folder)
    Fs.writeFileSync(Path.join(folder, "text"), "no program")
    done("zip", ["-q", "-0", "app.apk", "text"], folder)
    const faultOf = async (name: string) => {
      const failure = await Effect.runPromise(Effect.flip(BinaryFile.functions(name, ["foo"])))
      assert.include(failure.message, name.slice(0, name.indexOf("!")))
      return failure._tag === "BinaryFileError" ? failure.fault.reason : failure._tag
    }
    const archive = Path.join(folder, "app.apk")
    assert.strictEqual(await faultOf(`${archive}!/lib/x86_64/libfoo.so`), "Compressed")
    assert.strictEqual(await faultOf(`${archive}!/lib/x86/libfoo.so`), "NotFound")
    assert.strictEqual(await faultOf(`${archive}!/text`), "NotElf")
    assert.strictEqual(await faultOf(`${folder}/text!/x`), "NotArchive")
    assert.strictEqual(await faultOf(`${folder}/nothing.apk!/x`), "FileReadError")
  })
})
