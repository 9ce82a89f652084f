"""What `deploy/` says holds together, as far as that can be seen without a cluster.

Manifests are valid in strict mode against the published schema, every name that one file uses another one has, and
every setting, variable, port and path is one that Renga has.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from renga import __version__
from renga.config import VARIABLES, load_config, settings_table
from renga.http.public_routes import OPEN_PATHS, PUBLIC_ROUTES

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
YAMLS = sorted(DEPLOY.rglob("*.y*ml"))
KUBERNETES_VERSION = "1.34"
"""Older than what clusters run in a year from now; everything in it is stable since 1.34 at the latest."""
PATHS = {route.path for route in PUBLIC_ROUTES}
KNOWN = {setting.variable for setting in settings_table() if setting.variable} | set(VARIABLES)

Manifest = dict[str, Any]


def read(folder: Path) -> list[Manifest]:
    """What kustomize would make of a folder's resources and components, without its changes to names."""
    found: list[Manifest] = []
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    for name in (*kustomization.get("resources", ()), *kustomization.get("components", ())):
        path = (folder / name).resolve()
        found += read(path) if path.is_dir() else [each for each in yaml.safe_load_all(path.read_text()) if each]
    return found


COMPLETE = read(KUBERNETES / "complete")
PODS = {
    (each["kind"], each["metadata"]["name"]): each["spec"]["template"]
    for each in COMPLETE
    if each["kind"] in ("Deployment", "StatefulSet")
}
CONTAINERS = [(name, container) for (_, name), pod in PODS.items() for container in pod["spec"]["containers"]]
SECRET = yaml.safe_load((KUBERNETES / "base" / "secret.example.yaml").read_text())["stringData"]


def of_kind(kind: str) -> list[Manifest]:
    return [each for each in COMPLETE if each["kind"] == kind]


def selects(selector: Manifest, pod: Manifest) -> bool:
    return selector.items() <= pod["metadata"]["labels"].items()


def walk(value: Any) -> Iterator[Any]:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_is_yaml(path):
    assert all(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("manifest", COMPLETE, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_every_manifest_is_what_kubernetes_takes(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def test_every_file_is_used():
    used = set()
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        content = yaml.safe_load(kustomization.read_text())
        generated = [file for each in content.get("configMapGenerator", ()) for file in each["files"]]
        used |= {kustomization.parent / name for name in (*content.get("resources", ()), *generated)}
    there = {path for path in KUBERNETES.rglob("*") if path.is_file()}
    unused = {path.name for path in there - {path.resolve() for path in used}}
    assert unused == {"kustomization.yaml", "secret.example.yaml"}


def test_images_are_pinned_and_have_no_address():
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += [container["image"] for _, container in CONTAINERS]
    images += re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    for image in images:
        name, colon, tag = image.partition(":")
        assert colon and re.search(r"\d+\.\d+", tag), f"{image} is not pinned"
        assert "latest" not in tag
        assert "." not in name.partition("/")[0], f"{image} names a registry"
    ours = {image for image in images if image.startswith("renga")}
    assert ours == {f"renga:{__version__}", f"renga-balancer:{__version__}"}


def test_the_image_is_small_and_runs_as_nobody():
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    stages = dockerfile.split("\nFROM ")[1:]
    assert stages[-1].partition("\n")[0].endswith("AS gateway"), "the gateway is built by default"
    for stage in stages[1:]:
        assert "-slim-" in stage.partition("\n")[0]
        user = re.search(r"^USER (\d+):(\d+)$", stage, re.MULTILINE)
        assert user and int(user[1]) >= 10_000
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', dockerfile)
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text()
    for source in " ".join(copied).split():
        assert (DEPLOY.parent / source).exists(), source
        assert f"!{source.partition('/')[0]}\n" in ignored


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*")), ids=lambda path: path.name)
def test_every_variable_is_one_that_renga_reads(path):
    if path.is_file():
        assert set(re.findall(r"RENGA_[A-Z0-9_]+", path.read_text())) <= KNOWN


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("renga.toml")), ids=lambda path: path.parent.name)
def test_the_settings_load_and_fit_what_is_around_them(path):
    uncommented = re.sub(r"^# (?=\[|\w+ =)", "", path.read_text(), flags=re.MULTILINE)
    config = load_config(path, {})
    assert (config.server.host, config.server.port) == ("0.0.0.0", 8080)
    assert config.limits.when_away == "local"
    if path.parent.name == "compose":
        assert tomllib.loads(uncommented)["providers"]["vllm"]["base_url"] == "http://vllm-balancer:8000"
    else:
        shared = not config.files.enabled or config.files.bucket
        assert shared, "pods see no disk in common, so files need a bucket"


def test_probes_and_ports_are_those_of_the_server():
    (gateway,) = [container for name, container in CONTAINERS if name == "renga"]
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    assert ports == {"http": 8080}
    probes = {kind: gateway[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["path"] for probe in probes.values()} <= set(OPEN_PATHS), "a probe has no key"
    assert probes["readiness"]["path"] == "/ready" and probes["liveness"]["path"] == "/health"
    annotations = PODS["Deployment", "renga"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in PATHS
    assert (
        yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())["scrape_configs"][0]["metrics_path"]
        in PATHS
    )
    assert "/health" in (DEPLOY / "Dockerfile").read_text()


def test_a_pod_has_time_to_end_its_requests():
    pod = PODS["Deployment", "renga"]["spec"]
    pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    for path in DEPLOY.rglob("renga.toml"):
        drain_s = load_config(path, {}).server.drain_timeout_s
        assert pod["terminationGracePeriodSeconds"] >= pause_s + drain_s + 10
        assert int(COMPOSE["services"]["gateway"]["stop_grace_period"].rstrip("s")) >= drain_s + 10


def test_services_and_policies_find_their_pods():
    for service in of_kind("Service"):
        pods = [pod for pod in PODS.values() if selects(service["spec"]["selector"], pod)]
        assert len(pods) == 1, service["metadata"]["name"]
        named = {port["name"] for container in pods[0]["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for each in of_kind(kind):
            selector = each["spec"].get("podSelector", each["spec"].get("selector"))
            assert not selector or any(selects(selector["matchLabels"], pod) for pod in PODS.values())
    for (kind, name), pod in PODS.items():
        (owner,) = [each for each in of_kind(kind) if each["metadata"]["name"] == name]
        assert selects(owner["spec"]["selector"]["matchLabels"], pod)
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in PODS
    assert "replicas" not in next(each for each in of_kind("Deployment") if each["metadata"]["name"] == "renga")["spec"]


def test_everything_is_denied_but_what_is_said():
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind("NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for (_, name), pod in PODS.items():
        ports = {port["containerPort"] for container in pod["spec"]["containers"] for port in container["ports"]}
        allowed = {
            port["port"]
            for spec in policies.values()
            if spec["podSelector"] and selects(spec["podSelector"]["matchLabels"], pod)
            for rule in spec["ingress"]
            for port in rule["ports"]
        }
        assert ports == allowed, name
    for name in ("renga", "vllm"):
        (block,) = [each["ipBlock"] for each in walk(policies[name]) if isinstance(each, dict) and "ipBlock" in each]
        assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(block["except"])


def test_every_secret_and_volume_that_is_named_is_there():
    for each in walk(COMPLETE):
        if isinstance(each, dict) and "secretKeyRef" in each:
            assert each["secretKeyRef"]["name"] == "renga"
            assert each["secretKeyRef"]["key"] in SECRET
    for kind, name in PODS:
        (owner,) = [each for each in of_kind(kind) if each["metadata"]["name"] == name]
        spec = owner["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        volumes |= {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", ())}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
    generated = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["configMapGenerator"]
    named = {
        volume["configMap"]["name"]
        for pod in PODS.values()
        for volume in pod["spec"].get("volumes", ())
        if "configMap" in volume
    }
    assert named == {each["name"] for each in generated}


@pytest.mark.parametrize(("name", "container"), CONTAINERS, ids=lambda value: value if isinstance(value, str) else "")
def test_containers_have_no_more_rights_than_they_need(name, container):
    pod = next(pod for (_, owner), pod in PODS.items() if owner == name)
    rights = {**pod["spec"]["securityContext"], **container["securityContext"]}
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
    if name != "vllm":  # its image runs as root and writes where it likes
        assert rights["runAsNonRoot"] is True and rights["readOnlyRootFilesystem"] is True
    assert not {"password", "key", "token", "url"} & {
        variable["name"].rpartition("_")[2].lower() for variable in container.get("env", ()) if "value" in variable
    }, "a secret stands in a manifest"


def test_compose_names_only_what_it_has():
    services, volumes = COMPOSE["services"], COMPOSE["volumes"]
    folder = DEPLOY / "compose"
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= services.keys(), name
        for volume in service.get("volumes", ()):
            source, colon, _ = volume.partition(":")
            if source.startswith("."):
                assert (folder / source).is_file(), source
            elif colon:
                assert source in volumes, source
    example = {line.partition("=")[0] for line in (folder / "example.env").read_text().splitlines() if "=" in line}
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", (folder / "compose.yaml").read_text()))
    assert asked == example
    assert "/var/lib/renga" in services["gateway"]["volumes"], "each gateway has a spool of its own"
    folders = re.search(r"install -d .*", (DEPLOY / "Dockerfile").read_text())
    for volume in services["gateway"]["volumes"]:
        target = volume.split(":")[-1] if not volume.endswith(":ro") else ""
        assert not target or target in folders[0].split(), "a volume is its owner's only where the image has the folder"


def test_compose_shows_only_the_balancers_to_the_machine():
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert published.keys() == {"balancer", "prometheus"}


def test_the_balancer_lets_through_what_the_server_takes():
    text = (DEPLOY / "compose" / "nginx.conf").read_text()
    config = load_config(DEPLOY / "compose" / "renga.toml", {})
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) << 20 >= max(config.files.max_file_bytes, config.batches.max_body_bytes)
    assert "proxy_buffering off" in text and "gateway:8080 resolve" in text
    # The gateway must not close a connection that the balancer is about to use.
    assert config.server.idle_timeout_s > 60
