"""A compiler that is never asked to compile."""

from triton.backends import compiler


class Backend(compiler.BaseBackend):
    @staticmethod
    def supports_target(target):
        return target.backend == "cpu"

    def hash(self):
        return "interpreted"

    def parse_options(self, options):
        return options

    def add_stages(self, *args, **more):
        raise NotImplementedError

    def load_dialects(self, context):
        pass

    def get_module_map(self):
        return {}

    def get_codegen_implementation(self, *args):
        return {}

    def pack_metadata(self, metadata):
        return metadata
