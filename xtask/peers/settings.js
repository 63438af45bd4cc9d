// Node-RED without an editor's needs: one flow file, no credentials, no telemetry.
module.exports = {
  uiPort: Number(process.env.PEER_UI_PORT),
  uiHost: "127.0.0.1",
  userDir: process.env.PEER_DIR,
  flowFile: "flows.json",
  credentialSecret: false,
  logging: { console: { level: "info" } },
  diagnostics: { enabled: false },
  editorTheme: { tours: false },
  telemetry: { enabled: false },
};
