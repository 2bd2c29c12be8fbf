import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { execFileSync } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { afterAll, beforeAll } from "vitest"
import { sign, verify } from "../../src/cli/gen/Signing.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import * as LoaderSignature from "../../src/stages/gen/LoaderSignature.ts"
import * as InProcess from "../support/InProcess.ts"
import { describeWith, repository } from "../support/Require.ts"

/** Arguments, none of which has a blank in it. */
const words = (text: string): ReadonlyArray<string> => text.split(" ")

/** A loader of these bytes: what is signed of it is all that matters here. */
const loaderOf = (insns: Uint8Array, data: Uint8Array, covers: "insns" | "insns_and_data"): LoaderProgram => ({
  byteOrder: "little",
  insns,
  data,
  license: "GPL",
  contextSize: 24,
  maps: [],
  programs: [],
  created: { maps: [], programs: [] },
  inputs: [],
  signed: { covers },
  notes: []
})

const loader = loaderOf(
  Uint8Array.from({ length: 800 }, (_, at) => at * 7),
  Uint8Array.from({ length: 1400 }, (_, at) => at * 11),
  "insns_and_data"
)

describeWith({ kind: "oracle", tools: ["openssl"] }, "signatures beside those of openssl", () => {
  let folder = ""
  const file = (name: string): string => Path.join(folder, name)
  const openssl = (...args: ReadonlyArray<string>): Buffer =>
    execFileSync("openssl", args, { cwd: folder, stdio: "pipe" })
  const read = (name: string): Uint8Array => new Uint8Array(Fs.readFileSync(file(name)))

  beforeAll(() => {
    folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-bpf-signing-"))
    const request = (key: string, ...rest: ReadonlyArray<string>) =>
      openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=effect-bpf test", "-days", "2", ...rest)
    openssl("genrsa", "-out", "rsa.pem", "2048")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec.pem")
    openssl("genrsa", "-out", "other.pem", "2048")
    request("rsa.pem", "-out", "rsa.crt")
    request("ec.pem", "-out", "ec.crt")
    openssl("x509", "-in", "rsa.crt", "-outform", "DER", "-out", "rsa.der")
  })
  afterAll(() => Fs.rmSync(folder, { recursive: true, force: true }))

  const signed = (of: LoaderProgram, key: string, certificate: string): Uint8Array => {
    const result = Result.getOrThrow(sign(of, { key: read(key), certificate: read(certificate) }))
    return result.signed?.signature ?? assert.fail("there is no signature")
  }

  const cms = (content: Uint8Array, key: string, certificate: string): Uint8Array => {
    Fs.writeFileSync(file("content"), content)
    const form = ["-binary", "-noattr", "-nocerts", "-keyid", "-nosmimecap", "-md", "sha256", "-outform", "DER"]
    openssl("cms", "-sign", ...form, "-in", "content", "-signer", certificate, "-inkey", key, "-out", "signature")
    return read("signature")
  }

  it("RSA: byte for byte the same, of instructions and data, and of instructions alone", () => {
    for (const certificate of ["rsa.crt", "rsa.der"]) {
      const whole = new Uint8Array([...loader.insns, ...loader.data])
      assert.deepStrictEqual(signed(loader, "rsa.pem", certificate), cms(whole, "rsa.pem", "rsa.crt"))
    }
    const alone = loaderOf(loader.insns, loader.data, "insns")
    assert.deepStrictEqual(signed(alone, "rsa.pem", "rsa.crt"), cms(alone.insns, "rsa.pem", "rsa.crt"))
  })

  it("are valid for openssl, and openssl's are valid here", () => {
    for (const kind of ["rsa", "ec"]) {
      const ours = signed(loader, `${kind}.pem`, `${kind}.crt`)
      Fs.writeFileSync(file("ours"), ours)
      const content = LoaderSignature.signedBytes(loader, "insns_and_data")
      Fs.writeFileSync(file("content"), content)
      const checked = openssl(
        ...words("cms -verify -binary -inform DER -in ours -content content"),
        ...words(`-certfile ${kind}.crt -noverify`)
      )
      assert.deepStrictEqual(new Uint8Array(checked), content)
      const signature = cms(content, `${kind}.pem`, `${kind}.crt`)
      const verified = verify({ ...loader, signed: { covers: "insns_and_data", signature } }, read(`${kind}.crt`))
      assert.strictEqual(Result.getOrThrow(verified).subject, "CN=effect-bpf test")
      // An EC signature has chance in it: another one each time, of the same length within a few bytes.
      assert.isAtMost(Math.abs(signature.length - ours.length), 4)
    }
  })

  it("the hash that the loader's map is exclusive to is openssl's SHA-256 of the instructions", () => {
    Fs.writeFileSync(file("content"), loader.insns)
    const digest = openssl("dgst", "-sha256", "-r", "content").toString().split(" ")[0]
    assert.strictEqual(Buffer.from(LoaderSignature.exclusiveHash(loader)).toString("hex"), digest)
  })

  it("named fault: a changed byte of loader, data or signature, and a stranger's certificate, are found out", () => {
    const signature = signed(loader, "rsa.pem", "rsa.crt")
    const reasonOf = (of: LoaderProgram, certificate = "rsa.crt") => {
      const result = verify(of, read(certificate))
      return Result.isFailure(result) ? result.failure.reason : "valid"
    }
    const good: LoaderProgram = { ...loader, signed: { covers: "insns_and_data", signature } }
    const flip = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes[at] ?? 0) ^ 1)
    assert.strictEqual(reasonOf(good), "valid")
    assert.strictEqual(reasonOf({ ...good, insns: flip(good.insns, 17) }), "Invalid")
    assert.strictEqual(reasonOf({ ...good, data: flip(good.data, 1399) }), "Invalid")
    assert.strictEqual(reasonOf({ ...good, signed: { covers: "insns", signature } }), "Invalid")
    assert.strictEqual(reasonOf(good, "ec.crt"), "Signer")
    for (let at = 0; at < signature.length; at++) {
      const changed = reasonOf({ ...good, signed: { covers: "insns_and_data", signature: flip(signature, at) } })
      assert.notStrictEqual(changed, "valid", `byte ${at}`)
    }
    for (let length = 0; length < signature.length; length += 7) {
      const cut = { covers: "insns_and_data", signature: signature.subarray(0, length) } as const
      assert.strictEqual(reasonOf({ ...good, signed: cut }), "Form", `${length} bytes`)
    }
  })

  it("with attributes, with a certificate in it, or with its content are not what the kernel takes", () => {
    const content = LoaderSignature.signedBytes(loader, "insns_and_data")
    Fs.writeFileSync(file("content"), content)
    const sides: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
      [["-nocerts", "-keyid"], /signed attributes/],
      [["-noattr", "-keyid"], /more in it than it needs/],
      [["-noattr", "-nocerts"], /does not name its signer by the identifier/],
      [["-noattr", "-nocerts", "-keyid", "-nodetach"], /not detached/]
    ]
    for (const [flags, why] of sides) {
      openssl(
        ...words("cms -sign -binary -md sha256 -outform DER -in content -out signature"),
        ...words("-signer rsa.crt -inkey rsa.pem"),
        ...flags
      )
      const signature = read("signature")
      const result = verify({ ...loader, signed: { covers: "insns_and_data", signature } }, read("rsa.crt"))
      if (Result.isSuccess(result)) return assert.fail(`${flags.join(" ")} was taken`)
      assert.strictEqual(result.failure.reason, "Form")
      assert.match(result.failure.message, why)
    }
  })

  it("take encrypted keys with their passphrase", () => {
    openssl("pkcs8", "-topk8", "-in", "rsa.pem", "-out", "pkcs8.pem", "-passout", "pass:secret")
    openssl("rsa", "-aes256", "-traditional", "-in", "rsa.pem", "-out", "old.pem", "-passout", "pass:secret")
    for (const key of ["pkcs8.pem", "old.pem"]) {
      const tried = (passphrase?: string) =>
        sign(loader, {
          key: read(key),
          certificate: read("rsa.crt"),
          ...(passphrase === undefined ? {} : { passphrase })
        })
      const right = Result.getOrThrow(tried("secret"))
      assert.deepStrictEqual(right.signed?.signature, signed(loader, "rsa.pem", "rsa.crt"))
      for (
        const [passphrase, why] of [[undefined, /there is no passphrase/], ["wrong", /cannot be decrypted/]] as const
      ) {
        const result = tried(passphrase)
        if (Result.isSuccess(result)) return assert.fail("a wrong passphrase was taken")
        assert.strictEqual(result.failure.reason, "Passphrase")
        assert.match(result.failure.message, why)
      }
    }
  })

  it("are refused of keys and certificates that do not do", () => {
    openssl("genpkey", "-algorithm", "ed25519", "-out", "ed.pem")
    openssl("req", "-x509", "-new", "-key", "ed.pem", "-subj", "/CN=ed", "-days", "2", "-out", "ed.crt")
    Fs.writeFileSync(file("plain.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n[ext]\nbasicConstraints=CA:false\n")
    openssl(
      ...words("req -x509 -new -key rsa.pem -subj /CN=plain -days 2 -out plain.crt"),
      ...words("-config plain.cnf -extensions ext")
    )
    const hasIdentifier = openssl("x509", "-in", "plain.crt", "-noout", "-text").includes("Subject Key Identifier")
    const refusals: ReadonlyArray<readonly [key: string, certificate: string, reason: string]> = [
      ["other.pem", "rsa.crt", "Mismatch"],
      ["ec.pem", "rsa.crt", "Mismatch"],
      ["ed.pem", "ed.crt", "Certificate"],
      ["ed.pem", "rsa.crt", "Key"],
      ["rsa.crt", "rsa.crt", "Key"],
      ["rsa.der", "rsa.crt", "Key"],
      ["rsa.pem", "rsa.pem", "Certificate"],
      ...(hasIdentifier ? [] : [["rsa.pem", "plain.crt", "Certificate"]] as const)
    ]
    for (const [key, certificate, reason] of refusals) {
      const result = sign(loader, { key: read(key), certificate: read(certificate) })
      assert.strictEqual(Result.isFailure(result) ? result.failure.reason : "signed", reason, `${key} ${certificate}`)
    }
    const { signed: _, ...open } = loader
    const result = sign(open, { key: read("rsa.pem"), certificate: read("rsa.crt") })
    assert.strictEqual(Result.isFailure(result) ? result.failure.reason : "signed", "NotForSigning")
  })

  it("have at most 4096 bytes", () => {
    // The largest key that RSA of any use has signs in 2048 bytes: only a certificate's identifier could be longer.
    const { privateKey } = Crypto.generateKeyPairSync("rsa", { modulusLength: 1024 })
    Fs.writeFileSync(file("long.pem"), privateKey.export({ type: "pkcs8", format: "pem" }))
    const identifier = Array.from({ length: 4100 }, () => "AB").join(":")
    Fs.writeFileSync(
      file("long.cnf"),
      `[req]\ndistinguished_name=dn\n[dn]\n[ext]\nsubjectKeyIdentifier=${identifier}\n`
    )
    openssl(
      ...words("req -x509 -new -key long.pem -subj /CN=long -days 2 -out long.crt"),
      ...words("-config long.cnf -extensions ext")
    )
    const result = sign(loader, { key: read("long.pem"), certificate: read("long.crt") })
    assert.strictEqual(Result.isFailure(result) ? result.failure.reason : "signed", "TooLarge")
  })

  it.live("gen loader --sign names the file of a key or certificate that does not do", () =>
    Effect.gen(function*() {
      const object = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")
      const refused = Effect.fnUntraced(function*(key: string, cert: string) {
        const signing = words(`gen loader ${object} --sign --key ${file(key)} --cert ${file(cert)}`)
        const { status, stderr, stdout } = yield* InProcess.command(...signing)
        assert.deepStrictEqual([status, stdout], [1, ""])
        return stderr
      })
      assert.include(yield* refused("rsa.crt", "rsa.crt"), `${file("rsa.crt")}: the private key cannot be read`)
      assert.include(yield* refused("rsa.pem", "rsa.pem"), `${file("rsa.pem")}: the certificate is neither`)
      assert.include(yield* refused("ec.pem", "rsa.crt"), `${file("ec.pem")}: the certificate is not of this`)
      openssl("pkcs8", "-topk8", "-in", "rsa.pem", "-out", "locked.pem", "-passout", "pass:secret")
      assert.match(yield* refused("locked.pem", "rsa.crt"), /locked.pem: [^]*no passphrase[^]*EFFECT_BPF_PASSPHRASE/)
    }))

  it.live("gen loader --sign writes what gen verify, and openssl, take", () =>
    Effect.gen(function*() {
      const object = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")
      for (const form of [[], ["--instructions-only"]]) {
        const written = yield* InProcess.command(
          ...words(`gen loader ${object} -o ${file("loader.json")} --sign`),
          ...words(`--key ${file("rsa.pem")} --cert ${file("rsa.crt")}`),
          ...form
        )
        assert.deepStrictEqual([written.status, written.stderr], [0, ""])
        const json = JSON.parse(Fs.readFileSync(file("loader.json"), "utf8"))
        const insns = Buffer.from(json.insns, "base64")
        const covers = form.length === 0 ? "insns_and_data" : "insns"
        assert.strictEqual(json.signed.covers, covers)
        Fs.writeFileSync(file("ours"), Buffer.from(json.signed.signature, "base64"))
        Fs.writeFileSync(
          file("content"),
          covers === "insns" ? insns : Buffer.concat([insns, Buffer.from(json.data, "base64")])
        )
        openssl(
          ...words("cms -verify -binary -inform DER -in ours -content content"),
          ...words("-certfile rsa.crt -noverify -out checked")
        )
        const verified = yield* InProcess.command(
          ...words(`gen verify ${file("loader.json")} --cert ${file("rsa.der")} --json`)
        )
        assert.strictEqual(verified.status, 0)
        assert.deepInclude(JSON.parse(verified.stdout), {
          valid: true,
          subject: "CN=effect-bpf test",
          covers,
          exclusive_hash: Crypto.createHash("sha256").update(insns).digest("hex")
        })
        const other = yield* InProcess.command("gen", "verify", file("loader.json"), "--cert", file("ec.crt"))
        assert.strictEqual(other.status, 1)
        assert.match(other.stderr, /loader.json: the loader is signed by the key [0-9a-f]{40}, the certificate is of/)
        const data = Buffer.from(json.insns, "base64")
        data[100] = (data[100] ?? 0) ^ 1
        Fs.writeFileSync(file("changed.json"), JSON.stringify({ ...json, insns: data.toString("base64") }))
        const changed = yield* InProcess.command("gen", "verify", file("changed.json"), "--cert", file("rsa.crt"))
        assert.strictEqual(changed.status, 1)
        assert.match(changed.stderr, /the signature is not one of this loader/)
        // Signed instructions answer for the data: where they do not take it, the loader is another one.
        const otherData = Buffer.from(json.data, "base64")
        otherData[100] = (otherData[100] ?? 0) ^ 1
        Fs.writeFileSync(file("changed.json"), JSON.stringify({ ...json, data: otherData.toString("base64") }))
        const exchanged = yield* InProcess.command("gen", "verify", file("changed.json"), "--cert", file("rsa.crt"))
        assert.strictEqual(exchanged.status, 1)
        assert.match(exchanged.stderr, covers === "insns" ? /they do not take this data/ : /not one of this loader/)
      }
    }))

  it.live("gen verify and gen loader --sign say what is wrong with their files", () =>
    Effect.gen(function*() {
      const object = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")
      Fs.writeFileSync(file("no.json"), "{")
      Fs.writeFileSync(file("other.json"), JSON.stringify({ insns: 1 }))
      const stderr = function*(...args: ReadonlyArray<string>) {
        const ended = yield* InProcess.command(...args)
        assert.strictEqual(ended.status, 1, args.join(" "))
        assert.strictEqual(ended.stdout, "")
        return ended.stderr
      }
      assert.match(yield* stderr("gen", "verify", file("no.json"), "--cert", file("rsa.crt")), /no.json: .*not JSON/)
      assert.match(
        yield* stderr("gen", "verify", file("other.json"), "--cert", file("rsa.crt")),
        /no loader of gen loader/
      )
      assert.strictEqual((yield* InProcess.command("gen", "loader", object, "-o", file("plain.json"))).status, 0)
      assert.match(yield* stderr("gen", "verify", file("plain.json"), "--cert", file("rsa.crt")), /has no signature/)
      const output = file("never.json")
      const sign = (at: string, key: string, cert: string) =>
        stderr("gen", "loader", at, "-o", output, "--sign", "--key", file(key), "--cert", file(cert))
      assert.match(yield* sign(object, "other.pem", "rsa.crt"), /the certificate is not of this private key/)
      assert.match(yield* sign(object, "rsa.crt", "rsa.crt"), /the private key cannot be read/)
      const externs = Path.join(repository, "test/fixtures/externs.bpf.o")
      assert.match(
        yield* sign(externs, "rsa.pem", "rsa.crt"),
        /a signed loader is told nothing, .*CONFIG_HZ[^]*--kernel PROFILE/
      )
      assert.isFalse(Fs.existsSync(output))
    }))
})
