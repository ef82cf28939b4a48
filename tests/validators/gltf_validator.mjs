// Print the report of Khronos' glTF validator on each given file, as a JSON array in their order.
// usage: node gltf_validator.mjs FILE.glb...
import { readFileSync } from "node:fs";
import { validateBytes } from "gltf-validator";

const reports = [];
for (const path of process.argv.slice(2)) {
  const { issues, info } = await validateBytes(new Uint8Array(readFileSync(path)), { format: "glb", maxIssues: 0 });
  reports.push({ path, issues, info });
}
console.log(JSON.stringify(reports));
