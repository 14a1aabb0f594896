"""Packaging: bounds that hold on Python 3.11 and later, extras for what is optional."""

from setuptools import find_packages, setup

CORE = [
    'absl-py>=2.1',
    'chex>=0.1.90',
    'datasets>=4.0,<6',
    'filelock>=3.12',  # JAX bounds the size of its compilation cache with it
    'flax>=0.10,<0.13',
    'httpx2>=2,<3',
    'jax>=0.8,<0.11; python_version<"3.12"',
    'jax>=0.8,<0.13; python_version>="3.12"',
    'jinja2>=3.1',
    'matplotlib>=3.8',
    'ml-collections>=1.0',
    'numpy>=1.26',
    'optax>=0.2.6',
    'orbax-checkpoint>=0.11.20',
    'pyarrow>=17',
    'safetensors>=0.5,<0.9',
    'scipy>=1.13',
    'sentencepiece>=0.2',
    'tokenizers>=0.20',
    'tqdm>=4.66',
]

EXTRAS = {
    'cuda': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    # the compiler for NVIDIA GPUs where there is none: --target of perl.memory
    'target': [
        'jax[cuda12-local]',
        'nvidia-cuda-nvcc-cu12>=12.6,<13',
        'nvidia-cudnn-cu12>=9.8,<10',
    ],
    'track': ['tensorboardX>=2.6'],
    # models in GGUF files
    'gguf': ['gguf>=0.17,<0.20'],
    # what the tests in tests/reference compare with; never imported at run time
    'reference': [
        'bitsandbytes>=0.45; sys_platform == "linux"',
        'peft>=0.18,<0.22',
        'torch>=2.8,<2.14',
        'transformers>=5,<6',
        'trl>=1.10,<1.17',
    ],
    'dev': [
        'hypothesis>=6.100',
        'pytest>=8',
        'pytest-xdist>=3.5',
        'ruff==0.17.5',
        'scikit-learn>=1.4',
        'tensorboardX>=2.6',
    ],
}

setup(
    name='perl',
    version='0.1.0',
    description='Parameter-efficient RLHF in JAX: every role an adapter',
    license='Apache-2.0',
    packages=find_packages(include=['perl', 'perl.*']),
    # files that are not Python, by the package that reads them
    package_data={'perl.system': ['chips/*.txtpb']},
    python_requires='>=3.11',
    install_requires=CORE,
    extras_require=EXTRAS,
)
