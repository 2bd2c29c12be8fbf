/**
 * What is sent to kernels that lack features, beside libbpf 1.5, which is made believe that the running kernel lacks them
 * (bench/peers/pretend.h). The kernel itself lacks none, so that it also judges: it must take what was made for older ones.
 */
import { assert, beforeAll, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Feature } from "../../src/services/Kernel/Feature.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { loadDifferences } from "../support/LoadedBeside.ts"
import { loadOurs } from "../support/LoadOurs.ts"
import * as Peer from "../support/Peer.ts"
import { bpffs, describeWith, fixture, repository } from "../support/Require.ts"
import * as Sanitised from "../support/SanitisedBeside.ts"

const name = "old_kernels.bpf.o"
const path = Path.join(repository, "test/fixtures", name)

const both = (lacked: ReadonlyArray<Feature>): Promise<Sanitised.Beside> => {
  const pinRoot = Path.join(bpffs(), "pins")
  const clean = () => Fs.rmSync(pinRoot, { recursive: true, force: true })
  return Sanitised.loadBoth(fixture(name), lacked, { path, pinRoot }, clean)
}

const blobOf = ({ libbpf }: Sanitised.Beside): string | undefined =>
  libbpf.calls?.find((call) => call.command === "BTF_LOAD" && !call.probe)?.btf ?? undefined

describeWith(
  { kind: "live", tools: Libbpf.needs("1.5").tools, files: Libbpf.needs("1.5").files },
  "an object for kernels that lack features, beside libbpf",
  () => {
    let whole: Sanitised.Beside

    beforeAll(async () => {
      whole = await both([])
    })

    /** Features whose lack is seen in the object's types. */
    const inTypes: ReadonlySet<Feature> = new Set<Feature>([
      "BtfFunc",
      "BtfDatasec",
      "BtfGlobalFunc",
      "BtfFloat",
      "BtfDeclTag",
      "BtfTypeTag",
      "BtfEnum64",
      "ArgCtxTag"
    ])

    /**
     * What the kernel does not take: variables that were not made; contexts that neither a tag nor a type calls so; and one
     * of a probe, for which a kernel that knows the tag wants the very registers.
     */
    const refused: ReadonlySet<Feature> = new Set<Feature>(["GlobalData", "BtfDeclTag", "ArgCtxTag"])

    for (const feature of Sanitised.deciding) {
      it(feature, async () => {
        const lacked = await both([feature])
        const found = Sanitised.becauseOf(whole, lacked)
        const unexplained = found.filter((each) => Sanitised.whichException(each, [feature]) === undefined)
        assert.deepStrictEqual(unexplained.map(Sanitised.show), [])
        assert.strictEqual(found.length > 0, feature === "GlobalData")
        if (!refused.has(feature)) assert.isUndefined(lacked.libbpf.error)
        if (feature !== "Btf") assert.strictEqual(blobOf(lacked) !== blobOf(whole), inTypes.has(feature))
      })
    }

    for (const release of ["4.18", "5.4", "5.10", "6.1"]) {
      it(`Linux ${release}`, async () => {
        const lacked = Sanitised.lackedBy(release)
        const found = Sanitised.becauseOf(whole, await both(lacked))
        const unexplained = found.filter((each) => Sanitised.whichException(each, lacked) === undefined)
        assert.deepStrictEqual(unexplained.map(Sanitised.show), [])
      })
    }

    it("named fault: one that lacks another feature is seen", async () => {
      for (const [ours, theirs] of [["BtfFloat", "BtfEnum64"], ["ProgName", "ArrayMmap"]] as const) {
        const libbpf = (await both([theirs])).libbpf
        const found = loadDifferences(await loadOurs(fixture(name), { path, without: [ours] }), libbpf)
        const fields = found.map(({ field }) => field)
        assert.include(fields, ours === "ProgName" ? "sequence" : "btf")
      }
    })

    it("the peer tells probes from loads", () => {
      const { calls = [] } = Peer.load(path, [], "1.5", { LIBBPF_PEER_WITHOUT: "PROG_NAME" })
      const count = (command: string): number => calls.filter((call) => call.command === command && !call.probe).length
      assert.deepStrictEqual([count("BTF_LOAD"), count("PROG_LOAD")], [1, 6])
    })
  }
)
